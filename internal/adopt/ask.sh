# Asks a node's RPC from its own server: the address, the port and the path are the arguments.
exec timeout 10 bash -c 'exec 3<>"/dev/tcp/$1/$2" && printf "GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n" "$3" >&3 && head -c 2097152 <&3' ask "$@"

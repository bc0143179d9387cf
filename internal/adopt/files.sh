# Reads files of a daemon's home as its own user, so that a link in it leads no further than that user could go. The
# arguments are that user's and group's numbers and then pairs of what to tell and a path. An answer is a line each: the
# pair's number and the value in base64, or the number with a - and why there is none.
# Of keys only the public half is told. No private half is ever an argument, a variable that is exported, or printed.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL
uid=$1 gid=$2
shift 2
as() {
	if [ "$uid" = "$(id -u)" ]; then
		timeout 20 "$@"
	else
		timeout 20 setpriv --reuid="$uid" --regid="$gid" --clear-groups --no-new-privs -- "$@"
	fi
}
text() { as head -c "$2" -- "$1" | head -c "$2"; }
flat() { text "$1" 65536 | tr -d ' \t\r\n'; }
tell() {
	case "$1" in
	text) # whatever the home calls it: a private key is not brought anywhere
		all=$(text "$2" 131072)
		case "$all" in *PrivKey*) ;; *) printf '%s' "$all" ;; esac
		;;
	pub) # no longer than 48 bytes: a private key of the usual kind has 64
		flat "$2" | sed -n 's|.*"pub_key":{"type":"\([a-z]*/PubKey[A-Za-z0-9_]*\)","value":"\([A-Za-z0-9+/=]\{1,64\}\)"}.*|\1 \2|p'
		;;
	node)
		key=$(flat "$2" | sed -n 's|.*"priv_key":{"type":"tendermint/PrivKeyEd25519","value":"\([A-Za-z0-9+/=]*\)"}.*|\1|p')
		[ ${#key} = 88 ] || return 0
		printf '%s' "$key" | base64 -d | tail -c 32 | sha256sum | cut -c 1-40
		;;
	state)
		all=$(flat "$2")
		for name in height round step; do
			printf '%s ' "$(printf '%s' "$all" | sed -n 's|.*"'$name'":"\{0,1\}\([0-9]\{1,19\}\).*|\1|p')"
		done
		;;
	chain) flat "$2" | grep -o '"chain_id":"[^"]*"' | head -n 1 | cut -d '"' -f 4 ;;
	time) as stat -L -c %Y -- "$2" ;;
	real) as readlink -f -- "$2" ;;
	apart) # what keeps a home from being moved as it is
		[ ! -e "$2/.ssh" ] || printf '%s/.ssh, with which somebody logs in\n' "$2"
		awk -v home="$2" '$5 == home || index($5, home "/") == 1 { print $5 ", where something is mounted" }' /proc/self/mountinfo
		getent passwd | awk -F : -v home="$2" '($6 == home || index($6, home "/") == 1) && $7 !~ /(nologin|false|sync)$/ { print $6 ", the home of " $1 }'
		as find "$2" -path "$2/cosmovisor" -prune -o -type l -lname '/*' -print | head -n 8 | sed 's/$/, a link/'
		;;
	mount) df -P -- "$2" | sed -n '2s/^[^ ]* .* \(\/.*\)$/\1/p' ;;
	esac
}
n=0
while [ $# -ge 2 ]; do
	if ! as test -e "$2"; then
		printf '%s- missing\n' $n
	elif [ "$1" != real ] && [ "$1" != mount ] && [ "$1" != apart ] && ! as test -f "$2"; then
		printf '%s- odd\n' $n
	else
		value=$(tell "$1" "$2" 2>/dev/null | base64 | tr -d '\n')
		if [ -n "$value" ]; then printf '%s %s\n' $n "$value"; else printf '%s- unread\n' $n; fi
	fi
	n=$((n + 1))
	shift 2
done
exit 0

#!/bin/sh
# The rival of 'pressenter up': a script as people write it. It makes the same network (three validators, two sentries,
# ours behind them), configures it after CometBFT's documentation of the sentry pattern and starts all six daemons at
# once. It prints the RPC address of another validator and our consensus address, then waits until it is ended.
# usage: bare.sh DAEMON FOLDER FIRST_PORT
set -eu
d=$1 dir=$2 port=$3 chain=bare-1
nodes="w1 w2 w3 s1 s2 validator" vals="w1 w2 w3 validator"
p2p() { n=0; for x in $nodes; do [ "$x" = "$1" ] && echo $((port + 2 * n)); n=$((n + 1)); done; }
rpc() { echo $(($(p2p "$1") + 1)); }
id() { "$d" comet show-node-id --home "$dir/$1"; }
set_key() { sed -i "s|^$2 *=.*|$2 = $3|" "$dir/$1/config/config.toml"; }

for n in $nodes; do "$d" init "$n" --chain-id $chain --default-denom uprac --home "$dir/$n" >/dev/null 2>&1; done
for v in $vals; do
	"$d" keys add "$v" --keyring-backend test --home "$dir/$v" >/dev/null 2>&1
	a=$("$d" keys show "$v" -a --keyring-backend test --home "$dir/$v")
	"$d" genesis add-genesis-account "$a" 1000000000uprac --home "$dir/$v"
	[ "$v" = w1 ] || "$d" genesis add-genesis-account "$a" 1000000000uprac --home "$dir/w1"
done
mkdir -p "$dir/w1/config/gentx"
for v in $vals; do
	stake=100000000; [ "$v" = validator ] && stake=90000000
	"$d" genesis gentx "$v" ${stake}uprac --chain-id $chain --keyring-backend test --home "$dir/$v" >/dev/null 2>&1
	[ "$v" = w1 ] || cp "$dir/$v"/config/gentx/*.json "$dir/w1/config/gentx/"
done
"$d" genesis collect-gentxs --home "$dir/w1" >/dev/null 2>&1
at() { echo "$(id "$1")@127.0.0.1:$(p2p "$1")"; }
w1=$(at w1) w2=$(at w2) w3=$(at w3) s1=$(at s1) s2=$(at s2) v=$(at validator) vid=$(id validator)
for n in $nodes; do
	[ "$n" = w1 ] || cp "$dir/w1/config/genesis.json" "$dir/$n/config/genesis.json"
	sed -i "s|tcp://0.0.0.0:26656|tcp://127.0.0.1:$(p2p "$n")|; s|tcp://127.0.0.1:26657|tcp://127.0.0.1:$(rpc "$n")|" "$dir/$n/config/config.toml"
	set_key "$n" pprof_laddr '""'; set_key "$n" addr_book_strict false; set_key "$n" allow_duplicate_ip true
	set_key "$n" timeout_commit '"1s"'
	sed -i 's|^minimum-gas-prices *=.*|minimum-gas-prices = "0uprac"|; /^\[grpc\]/,/^\[/s|^enable *=.*|enable = false|; /^\[grpc-web\]/,/^\[/s|^enable *=.*|enable = false|' "$dir/$n/config/app.toml"
	case $n in
	w*) set_key "$n" persistent_peers "\"$w1,$w2,$w3\"" ;;
	s*) set_key "$n" persistent_peers "\"$w1,$w2,$w3,$s1,$s2,$v\""; set_key "$n" private_peer_ids "\"$vid\""; set_key "$n" unconditional_peer_ids "\"$vid\"" ;;
	validator) set_key "$n" persistent_peers "\"$s1,$s2\""; set_key "$n" pex false ;;
	esac
done
pids=
trap 'kill $pids 2>/dev/null; wait' EXIT
trap 'exit 0' INT TERM
for n in $nodes; do "$d" start --home "$dir/$n" >"$dir/$n.log" 2>&1 & pids="$pids $!"; done
echo "127.0.0.1:$(rpc w1) $(sed -n 's/.*"address": "\([0-9A-F]*\)".*/\1/p' "$dir/validator/config/priv_validator_key.json")"
wait

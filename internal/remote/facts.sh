# What a server tells of itself, a line each. Nothing is changed, and nothing need be there but a shell.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:$PATH
LC_ALL=C
export PATH LC_ALL
say() { printf '%s=%s\n' "$1" "$2"; }
has() { command -v "$1" >/dev/null 2>&1; }

say now "$(date +%s)"
say system "$(uname -sm)"
if [ -r /etc/os-release ]; then
	(. /etc/os-release; say id "$ID"; say version "${VERSION_ID-}"; say pretty "${PRETTY_NAME-}")
fi
[ ! -d /run/systemd/system ] || say systemd "$(systemctl --version 2>/dev/null | sed -n '1s/^systemd \([0-9]*\).*/\1/p')"
say memory_kb "$(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo)"
say cpus "$(nproc 2>/dev/null)"
at=/var/lib/pressenter
[ -d "$at" ] || at=/var/lib
say disk_kb "$(df -Pk "$at" | sed -n '2s/^[^ ]* *[0-9]* *[0-9]* *\([0-9]*\) .*/\1/p')"
! has nft || say nft 1
! has apt-get || say apt 1
[ ! -e /opt/pressenter/current ] || say ours 1
[ ! -r /var/lib/pressenter/agent/host.json ] || say owner "$(tr -d '\n' </var/lib/pressenter/agent/host.json)"
[ ! -r /var/lib/pressenter/agent/takeover.json ] || say taken "$(tr -d '\n' </var/lib/pressenter/agent/takeover.json)"
if has ss; then
	ss -Hltnp | while read -r _ _ _ at _ who; do say listen "tcp $at $who"; done
	ss -Hlunp | while read -r _ _ _ at _ who; do say listen "udp $at $who"; done
fi
for process in /proc/[0-9]*; do
	args=$({ tr '\0' ' ' <"$process/cmdline"; } 2>/dev/null) # each argument with a space after it
	program=${args%% *}
	case "$program" in /var/lib/pressenter/* | /opt/pressenter/*) continue ;; esac # ours: any other folder may have our name
	case "${program##*/}:$args" in
	cosmovisor:*\ run\ * | *d:*\ start\ * | horcrux:*\ start\ * | tmkms:*\ start\ * | *d\ start\ *) say daemon "$program" ;;
	esac
done
exit 0

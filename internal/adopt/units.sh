# The units of a server that run a chain's daemon, or would, and what runs in them: a line each, KEY and its value in
# base64. Nothing is changed. Of variables the names are told, and the values of those that say where a home is.
# The arguments are units to look at in any case; whatever else runs a daemon, or would, is searched for.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL
say() { printf '%s %s\n' "$1" "$(printf '%s' "$2" | head -c 65536 | base64 | tr -d '\n')"; }
args() { { tr '\0' "$2" <"/proc/$1/cmdline" | head -c 16384; } 2>/dev/null; }
group() { { sed -n 's/^0:://p' "/proc/$1/cgroup"; } 2>/dev/null; }
like() { # each argument with a space after it
	case "$1" in
	*/pressenter/*) return 1 ;;
	*cosmovisor\ run\ * | *d\ start\ * | *cometbft\ node\ * | *tendermint\ node\ *) return 0 ;;
	esac
	return 1
}
system() { # the system's unit of a control group, if it is one
	case "$1" in /system.slice/*.service) ;; *) return ;; esac
	at=${1##*/}
	case "$at" in *.service) printf '%s\n' "$at" ;; esac
}
places='^"?(HOME|DAEMON_[A-Z_]*|[A-Za-z0-9_]*_HOME)='

say boot "$(sed -n 's/^btime //p' /proc/stat)"
say ticks "$(getconf CLK_TCK)"
running=
for process in /proc/[0-9]*; do
	pid=${process#/proc/}
	like "$(args "$pid" ' ')" || continue
	at=$(group "$pid")
	say running "$at"
	running="$running $(system "$at")"
done
# Those that are written down, too: what is stopped now may start at the next boot. Of templates there are none to see.
written=$(systemctl list-unit-files --type=service --no-legend --no-pager --plain |
	sed -n 's/^\([A-Za-z0-9:_.@\\-]*\.service\) .*/\1/p' | grep -v -e '@\.service$' -e '^pressenter-' |
	xargs -d '\n' systemctl show --no-pager --property=Id,ExecStart -- |
	awk 'BEGIN { RS = "" } /cosmovisor run |d start |d start;|cometbft node|tendermint node/ && !/argv\[\]=\/etc\/init\.d\// {
		for (i = 1; i <= NF; i++) if (substr($i, 1, 3) == "Id=") print substr($i, 4) }')
for name in $(printf '%s\n' "$@" $running $written | grep -v -e '^pressenter-' -e '^$' | sort -u | head -n 9); do # one more than is taken
	say unit "$name"
	say show "$(systemctl show --no-pager --timestamp=unix --property=Id,LoadState,ActiveState,SubState,UnitFileState,FragmentPath,DropInPaths,NeedDaemonReload,MainPID,ControlGroup,User,Restart,KillMode,TimeoutStopUSec,ExecMainStartTimestamp,ExecStart,ExecCondition,ExecStartPre,ExecStartPost,ExecReload,ExecStop,ExecStopPost,EnvironmentFiles,WantedBy,RequiredBy,TriggeredBy,BoundBy,UpheldBy,RootDirectory,RootImage,BindPaths,BindReadOnlyPaths,TemporaryFileSystem,MountImages,OnFailure,OnSuccess,Upholds -- "$name")"
	say places "$(systemctl show --no-pager --property=Environment --value -- "$name" | tr ' ' '\n' | grep -E "$places")"
	user=$(systemctl show --no-pager --property=User --value -- "$name")
	[ -z "$user" ] || say owner "$(id -u -- "$user") $(id -g -- "$user") $(getent passwd -- "$user" | cut -d: -f6)"
	at=$(systemctl show --no-pager --property=ControlGroup --value -- "$name")
	[ -n "$at" ] || continue
	for pid in $({ find "/sys/fs/cgroup$at" -name cgroup.procs -exec cat '{}' + | head -n 32; } 2>/dev/null); do
		say pid "$pid"
		say exe "$(readlink "/proc/$pid/exe")"
		say args "$(args "$pid" '\n')"
		say ids "$({ sed -n 's/^[UG]id:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status" | tr '\n' ' '; } 2>/dev/null)"
		say stat "$({ head -c 4096 "/proc/$pid/stat"; } 2>/dev/null)"
		say names "$({ tr '\0' '\n' <"/proc/$pid/environ" | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/\1/p'; } 2>/dev/null)"
		say places "$({ tr '\0' '\n' <"/proc/$pid/environ" | grep -E "$places"; } 2>/dev/null)"
		say open "$({ readlink "/proc/$pid"/fd/* | sed -n -e 's|/data/[a-z_]*\.db/.*||p' -e 's|/data/cs\.wal/wal.*||p' | sort -u; } 2>/dev/null)"
		if like "$(args "$pid" ' ')"; then
			say sum "$(timeout 60 sha256sum <"/proc/$pid/exe" | cut -d ' ' -f 1)"
		fi
	done
done
exit 0

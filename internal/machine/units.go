package machine

import (
	"path/filepath"
	"strings"
)

// The units of a machine. Only the agent's is started at boot: whether the others may run, the agent decides.
const (
	AgentUnit = "pressenter-agent.service"
	MeshUnit  = "pressenter-mesh.service"
	NodeUnit  = "pressenter-node.service"
)

// unitFolder is for units that are neither the distribution's nor the administrator's own: what an administrator says
// in /etc/systemd/system about them counts more, a mask for one.
const unitFolder = "/usr/local/lib/systemd/system"

func unitFile(name string) string { return filepath.Join(unitFolder, name) }

// sandbox is what no unit needs: devices but the plainest, the kernel's settings, other people's files.
const sandbox = `NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
LockPersonality=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
KeyringMode=private
UMask=0077
LimitCORE=0
LimitNOFILE=65536
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service
`

// What each unit says beside it. No process of the node's or the mesh's user can make a file that is no plain file: the
// agent reads what they leave, and a pipe would let it wait.
const (
	agentUnit = `[Unit]
Description=pressenter agent: keeps this host as the roster wants it
After=network.target ` + MeshUnit + ` ` + NodeUnit + `
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart=PROGRAM agent --host ` + Folder + `
Restart=always
RestartSec=1
KillMode=mixed
OOMScoreAdjust=-500
# It works in the folders of both users, starts their units, puts back unit files, and ends what a unit left.
CapabilityBoundingSet=CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_KILL CAP_SETGID CAP_SETUID
ReadWritePaths=` + Folder + ` ` + unitFolder + `
PrivateDevices=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
# All that it talks to is on this machine.
IPAddressAllow=localhost
IPAddressDeny=any
SANDBOX
[Install]
WantedBy=multi-user.target
`
	meshUnit = `[Unit]
Description=pressenter mesh: carries this host's tunnels
After=network.target
StartLimitIntervalSec=0

[Service]
Type=exec
User=` + MeshUser + `
ExecStart=PROGRAM mesh run --host ` + Folder + `
Restart=on-failure
RestartSec=1
TimeoutStopSec=10
OOMScoreAdjust=-500
# Devices, routes and packet filters; and the relay's port.
AmbientCapabilities=CAP_NET_ADMIN CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_BIND_SERVICE
ReadWritePaths=` + Folder + `/mesh
InaccessiblePaths=` + Folder + `/agent ` + Folder + `/node
DevicePolicy=closed
DeviceAllow=/dev/net/tun rw
ProtectProc=invisible
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SANDBOXSystemCallFilter=~mknod mknodat
`
	nodeUnit = `[Unit]
Description=pressenter node: runs the chain's daemon
RequiresMountsFor=` + volumeAt + `
After=network.target
StartLimitIntervalSec=0

[Service]
Type=exec
User=` + NodeUser + `
ExecStart=PROGRAM node run --host ` + Folder + `/node
Restart=on-failure
RestartSec=1
# The daemon outlives its supervisor, and the next one adopts it.
KillMode=process
# Longer than the supervisor may take to stop the daemon.
TimeoutStopSec=75
OOMScoreAdjust=-900
CapabilityBoundingSet=
ReadWritePaths=` + Folder + `/node
InaccessiblePaths=` + Folder + `/agent ` + Folder + `/mesh
PrivateDevices=yes
ProtectProc=invisible
# Memory may become executable: chains with contracts compile them.
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SANDBOXSystemCallFilter=~@privileged @resources mknod mknodat
`
)

// unitText is the file of a unit that runs program.
func unitText(name, program string) string {
	text := map[string]string{AgentUnit: agentUnit, MeshUnit: meshUnit, NodeUnit: nodeUnit}[name]
	return strings.NewReplacer("PROGRAM", program, "SANDBOX", sandbox).Replace(text)
}

package doctor

import (
	"fmt"
	"strings"
	"time"

	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/plan"
)

// Codes of checks. Findings of hosts and questions of package hiding have codes of their own.
const (
	CodeProgram     = "program"
	CodeChain       = "chain-program"
	CodeDisk        = "disk"
	CodeInodes      = "disk-files"
	CodeMemory      = "memory"
	CodeFiles       = "open-files"
	CodeUmask       = "umask"
	CodeWritable    = "writable"
	CodeFileSystem  = "file-system"
	CodeSocketPath  = "socket-path"
	CodeClockYear   = "clock-year"
	CodeClockSync   = "clock-sync"
	CodeClockStep   = "clock-step"
	CodeClockFiles  = "clock-files"
	CodeClockChain  = "clock-chain"
	CodeOperator    = "operator-files"
	CodeKeyring     = "keyring"
	CodePermissions = "permissions"
	CodeRoster      = "roster"
	CodeMesh        = "mesh-discloses"
	CodeBackup      = "key-backup"
	CodeSigning     = "signing"
	CodeAgent       = "agent"
	CodeVersion     = "agent-version"
	CodeNode        = "node"
	CodeNodeID      = "node-id"
	CodePort        = "port"
	CodeRPC         = "rpc-open"
)

// What a deployment needs.
const (
	diskCritical   = 1 << 30
	diskWarning    = 5 << 30
	inodesCritical = 1_000
	inodesWarning  = 50_000
	perNode        = 250 << 20 // a practice node with its supervisor and agent
	spareMemory    = 256 << 20
	filesCritical  = 512
	filesWarning   = 4096
	maxSocketPath  = 103
)

// Judge says what follows from the facts.
func Judge(f Facts) []Check {
	cs := []Check{program(f.Program), chainProgram(f.Chain, f.Program), memory(f), files(f.Files), umask(f.Umask)}
	cs = append(cs, Clocks(f.Clock)...)
	cs = append(cs, place(f.Folder)...)
	for _, s := range f.Sides {
		cs = append(cs, side(s)...)
	}
	for _, s := range f.Sides {
		cs = append(cs, rosters(s, f.Hosts)...)
	}
	for _, h := range f.Hosts {
		cs = append(cs, host(h, f.Program)...)
	}
	return append(cs, placement(f.Hosts)...)
}

// placement judges what of the deployment fails together.
func placement(hosts []Host) (cs []Check) {
	var own []deployment.Host
	for _, h := range hosts {
		if !h.World {
			own = append(own, h.Host)
		}
	}
	for _, f := range plan.Placement(own) {
		cs = append(cs, whole.finding(f))
	}
	return cs
}

var computer, folder, whole = about{Computer}, about{Folder}, about{Deployment}

func program(p Program) Check {
	return computer.ok(CodeProgram, "this program", fmt.Sprintf("pressenter %s, %s", p.Version, p.Platform))
}

func chainProgram(c ChainProgram, p Program) Check {
	const next = "build it with 'make chain', or name one with --daemon or chain.binary"
	measured := fmt.Sprintf("%s, %s", c.Path, orUnknown(c.Platform))
	if c.Comet != "" {
		measured += ", CometBFT " + c.Comet
	}
	switch {
	case c.Path == "", c.Missing:
		return computer.critical(CodeChain, "the chain's program was not found", c.Path, next)
	case c.Err != "":
		return computer.critical(CodeChain, "the chain's program cannot be read: "+c.Err, c.Path, next)
	case !c.Mode.IsRegular():
		return computer.critical(CodeChain, "the chain's program is not a file", c.Path, next)
	case c.Mode.Perm()&0o111 == 0:
		return computer.critical(CodeChain, "the chain's program is not executable", fmt.Sprintf("%s, mode %04o", c.Path, c.Mode.Perm()), "chmod +x "+c.Path)
	case c.Platform != "" && c.Platform != p.Platform:
		return computer.critical(CodeChain, fmt.Sprintf("the chain's program is for %s, this computer is %s", c.Platform, p.Platform), c.Path, next)
	case c.RunErr != "":
		return computer.critical(CodeChain, "the chain's program does not run here: "+c.RunErr, measured, next)
	case c.Wanted != "" && c.Wanted != c.SHA256:
		return computer.warning(CodeChain, "the chain's program is not the one that the hosts were set up with", fmt.Sprintf("%s, SHA-256 %.12s, hosts have %.12s", measured, c.SHA256, c.Wanted),
			"run 'pressenter plan' to see what that would change")
	}
	return computer.ok(CodeChain, "the chain's program runs here", measured)
}

func orUnknown(platform string) string {
	if platform == "" {
		return "platform not known"
	}
	return platform
}

// memory compares what is free with what the hosts need that do not run yet.
func memory(f Facts) Check {
	if f.Memory.Err != "" {
		return computer.notChecked(CodeMemory, "free memory was not measured: "+f.Memory.Err, "")
	}
	down := f.Expected
	for _, h := range f.here() {
		if h.Status.Node.DaemonPID != 0 {
			down--
		}
	}
	down = max(down, 0)
	need := uint64(down)*perNode + spareMemory
	measured := fmt.Sprintf("%s of %s available, %s needed for %d nodes to start", size(f.Memory.Available), size(f.Memory.Total), size(need), down)
	if down == 0 {
		measured = fmt.Sprintf("%s of %s available, all %d nodes run", size(f.Memory.Available), size(f.Memory.Total), f.Expected)
	}
	next := "close other programs, or use a computer with more memory"
	if f.Memory.Limited {
		next = "raise the memory limit of this container or service, or close other programs in it"
	}
	switch {
	case f.Memory.Available < need/2:
		return computer.critical(CodeMemory, "there is far too little memory: the kernel would kill nodes", measured, next)
	case f.Memory.Available < need:
		return computer.warning(CodeMemory, "memory is short", measured, next)
	}
	return computer.ok(CodeMemory, "there is enough memory", measured)
}

func files(f Files) Check {
	const next = "raise it: 'ulimit -Hn 65536' as root, LimitNOFILE= in a unit, or nofile in /etc/security/limits.conf"
	measured := fmt.Sprintf("limit %d", f.Limit)
	if f.Limit > 1<<40 {
		measured = "no limit"
	}
	switch {
	case f.Err != "":
		return computer.notChecked(CodeFiles, "the limit of open files was not measured: "+f.Err, "")
	case f.Limit < filesCritical:
		return computer.critical(CodeFiles, "a node cannot open the files and connections that it needs", measured, next)
	case f.Limit < filesWarning:
		return computer.warning(CodeFiles, "a busy node needs more open files", measured, next)
	}
	return computer.ok(CodeFiles, "programs may open enough files", measured)
}

func umask(u Umask) Check {
	measured := fmt.Sprintf("%04o", u.Value)
	switch {
	case u.Err != "":
		return computer.notChecked(CodeUmask, "the umask was not read: "+u.Err, "")
	case u.Value&0o700 != 0:
		return computer.critical(CodeUmask, "files made here cannot be used by their own owner", measured, "umask 077")
	}
	return computer.ok(CodeUmask, "new files are usable; those that hold keys are made for their owner alone whatever the umask", measured)
}

// place judges the deployment's folder.
func place(p Place) []Check {
	if p.Err != "" {
		return []Check{folder.critical(CodeWritable, "the folder cannot be looked at: "+p.Err, p.Path, "use another folder, or mend its permissions")}
	}
	cs := []Check{writable(p)}
	measured := fmt.Sprintf("%s free of %s", size(p.Free), size(p.Size))
	const more = "free some space, or move the deployment to a larger disk"
	switch {
	case p.Free < diskCritical:
		cs = append(cs, folder.critical(CodeDisk, "the disk is full, or nearly so: nodes stop when nothing can be written", measured, more))
	case p.Free < diskWarning:
		cs = append(cs, folder.warning(CodeDisk, "disk space is short: a chain grows for as long as it runs", measured, more))
	default:
		cs = append(cs, folder.ok(CodeDisk, "there is enough disk space", measured))
	}
	cs = append(cs, inodes(p), fileSystem(p), socketPath(p))
	return cs
}

func writable(p Place) Check {
	if p.WriteErr != "" {
		return folder.critical(CodeWritable, "the folder cannot be written: "+p.WriteErr, p.Path, "use another folder, or mend its permissions")
	}
	message := "the folder can be written, and what is written reaches the disk"
	if !p.Exists {
		message = "the deployment can be made here"
	}
	measured := fmt.Sprintf("%s, 4 KiB durable in %s", p.Path, p.Wrote.Round(10*time.Microsecond))
	if p.Wrote > time.Second {
		return folder.warning(CodeWritable, "the disk is very slow: a validator that waits for it misses blocks", measured, "use a faster disk")
	}
	return folder.ok(CodeWritable, message, measured)
}

func inodes(p Place) Check {
	measured := fmt.Sprintf("%d of %d free", p.FreeFiles, p.MaxFiles)
	const next = "delete files that nobody needs, or use another file system"
	switch {
	case p.MaxFiles == 0:
		return folder.ok(CodeInodes, "the file system has no limit of files", "")
	case p.FreeFiles < inodesCritical:
		return folder.critical(CodeInodes, "the file system takes no more files (inodes), however much space is free", measured, next)
	case p.FreeFiles < inodesWarning:
		return folder.warning(CodeInodes, "the file system takes few more files (inodes)", measured, next)
	}
	return folder.ok(CodeInodes, "the file system takes enough more files", measured)
}

func fileSystem(p Place) Check {
	if p.Network {
		return folder.warning(CodeFileSystem, "the folder is on a network or user-space file system: locks may not hold there, and locks are what keeps two nodes from one key",
			p.System, "move the deployment to a disk of this computer")
	}
	return folder.ok(CodeFileSystem, "the folder is on a file system whose locks hold", p.System)
}

func socketPath(p Place) Check {
	measured := fmt.Sprintf("%d bytes, %d fit everywhere", p.Socket, maxSocketPath)
	switch {
	case p.Socket <= maxSocketPath:
		return folder.ok(CodeSocketPath, "paths of sockets are short enough", measured)
	case p.ShortPaths:
		return folder.ok(CodeSocketPath, "paths of sockets are long; this system has a way around it", measured)
	}
	return folder.critical(CodeSocketPath, "paths of sockets are too long for this system", measured, "move the deployment to a folder with a shorter path")
}

// size is for people.
func size(n uint64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, i := float64(n), 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0") + " " + units[i]
}

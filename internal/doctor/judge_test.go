package doctor

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/process"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/signing"
)

var begin = time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)

// goodFacts are those of a deployment without a flaw: each test spoils one thing.
func goodFacts() Facts {
	heads := []string{strings.Repeat("a", 64)}
	host := func(name string, role roster.Role, pid int) Host {
		return Host{
			Host:   deployment.Host{Name: name, Role: role, Folder: "/d/hosts/" + name, Listen: api.Listen{P2P: "127.0.0.1:1000", RPC: "127.0.0.1:1001"}},
			Exists: true, Agent: true,
			Status: api.HostStatus{
				Agent:    api.AgentStatus{PID: pid + 1, Version: "v1", RSSBytes: 20 << 20},
				Enrolled: &api.Enrolled{Name: name, NodeID: name},
				Roster:   api.RosterStatus{Generation: 2, Heads: heads, Learned: true},
				Node:     api.NodeStatus{SupervisorPID: pid + 2, DaemonPID: pid, Phase: "running", Answers: true, NodeID: name, Height: 9, BlockTime: begin},
			},
			Ports: []Port{
				{Name: "p2p", Addr: "127.0.0.1:1000", Holder: process.Identity{PID: pid}, Who: "chaind"},
				{Name: "rpc", Addr: "127.0.0.1:1001", Holder: process.Identity{PID: pid}, Who: "chaind"},
			},
			Modes: []Mode{{Path: "hosts/" + name, Want: 0o700, Got: 0o700, Owned: true, Folder: true}, {Path: "key", Want: 0o600, Got: 0o600, Owned: true}},
		}
	}
	v := host("validator", roster.RoleValidator, 100)
	v.Status.Enrolled.Consensus = []byte("key")
	v.Status.Signing = api.SigningStatus{State: signing.Armed, LastHeight: 9, Window: 100}
	v.Backup = Backup{Path: "/d/backup", Present: true, Opened: true}
	return Facts{
		Program: Program{Version: "v1", Platform: "linux/amd64"},
		Chain:   ChainProgram{Path: "/bin/chaind", Wanted: "abc", SHA256: "abc", Mode: 0o755, Platform: "linux/amd64", Comet: "v0.38.26"},
		Memory:  Memory{Total: 16 << 30, Available: 8 << 30}, Files: Files{Limit: 65536}, Umask: Umask{Value: 0o022},
		Folder: Place{Path: "/d", Exists: true, Free: 50 << 30, Size: 100 << 30, FreeFiles: 1e6, MaxFiles: 2e6, System: "ext4", Wrote: time.Millisecond, Socket: 40},
		Clock:  goodClock(),
		Sides: []Side{{
			Name: "hub", Generation: 2, Heads: heads, Keyring: Keyring{Path: "/d/keyring.age", Present: true, Protected: true},
			Modes: []Mode{{Path: "operator", Want: 0o700, Got: 0o700, Owned: true, Folder: true}},
		}},
		Hosts:    []Host{host("s1", roster.RoleSentry, 200), v},
		Expected: 2,
	}
}

func TestGoodFacts(t *testing.T) {
	for _, c := range Judge(goodFacts()) {
		if c.Verdict != OK {
			t.Errorf("of a deployment without a flaw: %+v", c)
		}
		if c.Code == "" || c.Subject == "" || c.Message == "" {
			t.Errorf("a check without words: %+v", c)
		}
	}
}

// flaw is one thing that is not as it should be, and what is to be said of it.
type flaw struct {
	name    string
	spoil   func(*Facts)
	code    string
	subject string
	want    Verdict
	says    string
}

var ofComputer = []flaw{
	{"no chain program", func(f *Facts) { f.Chain = ChainProgram{} }, CodeChain, Computer, Critical, "not found"},
	{"missing chain program", func(f *Facts) { f.Chain = ChainProgram{Path: "/x", Missing: true} }, CodeChain, Computer, Critical, "not found"},
	{"unreadable chain program", func(f *Facts) { f.Chain.Err = "permission denied" }, CodeChain, Computer, Critical, "permission denied"},
	{"not executable", func(f *Facts) { f.Chain.Mode = 0o644 }, CodeChain, Computer, Critical, "not executable"},
	{"other architecture", func(f *Facts) { f.Chain.Platform = "linux/arm64" }, CodeChain, Computer, Critical, "is for linux/arm64"},
	{"does not run", func(f *Facts) { f.Chain.RunErr = "exec format error" }, CodeChain, Computer, Critical, "exec format error"},
	{"other chain program", func(f *Facts) { f.Chain.SHA256 = "def" }, CodeChain, Computer, Warning, "not the one"},

	{"memory for nodes to start", func(f *Facts) { f.Memory.Available = 600 << 20; f.Hosts, f.Expected = nil, 6 }, CodeMemory, Computer, Critical, "far too little"},
	{"memory short", func(f *Facts) { f.Memory.Available = 1 << 30; f.Hosts, f.Expected = nil, 6 }, CodeMemory, Computer, Warning, "short"},
	{"memory unknown", func(f *Facts) { f.Memory = Memory{Err: "no"} }, CodeMemory, Computer, NotChecked, "no"},
	{"few open files", func(f *Facts) { f.Files.Limit = 1024 }, CodeFiles, Computer, Warning, "busy"},
	{"too few open files", func(f *Facts) { f.Files.Limit = 256 }, CodeFiles, Computer, Critical, "cannot open"},
	{"umask", func(f *Facts) { f.Umask.Value = 0o777 }, CodeUmask, Computer, Critical, "owner"},
}

var ofFolder = []flaw{
	{"not writable", func(f *Facts) { f.Folder.WriteErr = "read-only file system" }, CodeWritable, Folder, Critical, "read-only"},
	{"slow disk", func(f *Facts) { f.Folder.Wrote = 3 * time.Second }, CodeWritable, Folder, Warning, "slow"},
	{"no folder", func(f *Facts) { f.Folder.Err = "it is not a folder" }, CodeWritable, Folder, Critical, "not a folder"},
	{"disk short", func(f *Facts) { f.Folder.Free = 4 << 30 }, CodeDisk, Folder, Warning, "short"},
	{"disk full", func(f *Facts) { f.Folder.Free = 900 << 20 }, CodeDisk, Folder, Critical, "full"},
	{"inodes short", func(f *Facts) { f.Folder.FreeFiles = 20_000 }, CodeInodes, Folder, Warning, "few"},
	{"no inodes", func(f *Facts) { f.Folder.FreeFiles = 3 }, CodeInodes, Folder, Critical, "no more"},
	{"no limit of inodes", func(f *Facts) { f.Folder.FreeFiles, f.Folder.MaxFiles = 0, 0 }, CodeInodes, Folder, OK, "no limit"},
	{"network file system", func(f *Facts) { f.Folder.Network = true }, CodeFileSystem, Folder, Warning, "locks"},
	{"long path", func(f *Facts) { f.Folder.Socket = 120 }, CodeSocketPath, Folder, Critical, "too long"},
	{"long path with a way around", func(f *Facts) { f.Folder.Socket, f.Folder.ShortPaths = 120, true }, CodeSocketPath, Folder, OK, "way around"},
}

var ofOperator = []flaw{
	{"operator's files", func(f *Facts) { f.Sides[0].Err = "bad JSON" }, CodeOperator, "hub", Critical, "bad JSON"},
	{"vpncloud", func(f *Facts) { f.Sides[0].Driver = roster.MeshVpnCloud }, CodeMesh, "hub", Warning, "cannot hide the validator's"},
	{"no keyring", func(f *Facts) { f.Sides[0].Keyring.Present = false }, CodeKeyring, "hub", Critical, "no operator keyring"},
	{"broken keyring", func(f *Facts) { f.Sides[0].Keyring.Err = "damaged" }, CodeKeyring, "hub", Critical, "damaged"},
	{"open keyring", func(f *Facts) { f.Sides[0].Keyring.Protected = false }, CodeKeyring, "hub", Warning, "not protected"},
	{"open keyring, practice", func(f *Facts) { f.Sides[0].Keyring.Protected, f.Sides[0].Practice = false, true }, CodeKeyring, "hub", OK, "practice only"},
	{"readable key", func(f *Facts) { f.Hosts[0].Modes[1].Got = 0o640 }, CodePermissions, "s1", Critical, "mode 0640, want 0600"},
	{"stricter key", func(f *Facts) { f.Hosts[0].Modes[1].Got = 0o400 }, CodePermissions, "s1", OK, ""},
	{"somebody else's key", func(f *Facts) { f.Hosts[0].Modes[1].Owned = false }, CodePermissions, "s1", Critical, "somebody else"},

	{"fork", func(f *Facts) { f.Sides[0].Fork = true }, CodeRoster, "hub", Critical, "forked"},
	{"fork on a host", func(f *Facts) { f.Hosts[0].Status.Roster.Fork = true }, CodeRoster, "s1", Critical, "forked"},
	{"host behind", func(f *Facts) { f.Hosts[0].Status.Roster.Heads = []string{"b"} }, CodeRoster, "s1", Warning, "different"},
	{"host without roster", func(f *Facts) { f.Hosts[0].Status.Roster.Heads = nil }, CodeRoster, "s1", Warning, "no roster"},
	{"host not told", func(f *Facts) { f.Hosts[0].Status.Roster.Learned = false }, CodeRoster, "s1", Warning, "not told"},
	{"nothing published", func(f *Facts) { f.Sides[0].Heads = nil }, CodeRoster, "hub", NotChecked, "no roster"},
	{"nobody answers", func(f *Facts) { f.Hosts[0].Agent, f.Hosts[1].Agent = false, false }, CodeRoster, "hub", NotChecked, "no host answers"},
}

var ofHosts = []flaw{
	{"host gone", func(f *Facts) { f.Hosts[0].Exists = false }, CodeAgent, "s1", Critical, "gone"},
	{"agent down", func(f *Facts) { f.Hosts[0].Agent = false }, CodeAgent, "s1", Warning, "nothing is repaired"},
	{"agent stopped", func(f *Facts) {
		f.Hosts[0].Agent, f.Hosts[0].Status.Intent = false, api.Intent{Stopped: true, By: "me"}
	}, CodeAgent, "s1", Info, "stopped by me"},
	{"other version", func(f *Facts) { f.Hosts[0].Status.Agent.Version = "v0" }, CodeVersion, "s1", Warning, "another version"},
	{"node down", func(f *Facts) { f.Hosts[0].Status.Node, f.Hosts[0].Status.Reason = api.NodeStatus{}, "no genesis yet" }, CodeNode, "s1", Critical, "no genesis yet"},
	{"node stopped", func(f *Facts) {
		f.Hosts[0].Status.Node, f.Hosts[0].Status.Intent = api.NodeStatus{Phase: "down"}, api.Intent{Stopped: true, By: "me"}
	}, CodeNode, "s1", Info, "stopped by me"},
	{"node stops", func(f *Facts) { f.Hosts[0].Status.Intent = api.Intent{Stopped: true, By: "me"} }, CodeNode, "s1", Warning, "not down yet"},
	{"node not seen", func(f *Facts) { f.Hosts[0].Status.Node = api.NodeStatus{Phase: "unknown"} }, CodeNode, "s1", Critical, "cannot be told"},
	{"node alone", func(f *Facts) { f.Hosts[0].Status.Node.SupervisorPID = 0 }, CodeNode, "s1", Warning, "nobody supervises"},
	{"node silent", func(f *Facts) { f.Hosts[0].Status.Node.Answers = false }, CodeNode, "s1", Warning, "does not answer"},
	{"node syncing", func(f *Facts) { f.Hosts[0].Status.Node.CatchingUp = true }, CodeNode, "s1", Info, "catching up"},
	{"other node", func(f *Facts) { f.Hosts[0].Status.Node.NodeID = "x" }, CodeNodeID, "s1", Critical, "another node"},
	{"what a host says itself", func(f *Facts) {
		f.Hosts[0].Status.Findings = []health.Finding{{Code: "frozen", Severity: health.Critical, Message: "stands still", Next: "restart it"}}
	}, "frozen", "s1", Critical, "stands still"},

	{"port of another", func(f *Facts) { f.Hosts[0].Ports[0].Holder.PID = 7 }, CodePort, "s1", Critical, "not by the node"},
	{"port of somebody", func(f *Facts) { f.Hosts[0].Ports[0].Holder = process.Identity{} }, CodePort, "s1", Critical, "not by the node"},
	{"port not open yet", func(f *Facts) { f.Hosts[0].Ports[0] = Port{Name: "p2p", Free: true} }, CodePort, "s1", Info, "not listen"},
	{"port unknown", func(f *Facts) {
		f.Hosts[0].Ports[0].Err, f.Hosts[0].Ports[0].Holder = "unsupported", process.Identity{}
	}, CodePort, "s1", NotChecked, "unsupported"},
	{"port free", func(f *Facts) {
		f.Hosts[0].Status.Node, f.Hosts[0].Ports[0] = api.NodeStatus{}, Port{Name: "p2p", Free: true}
	}, CodePort, "s1", OK, "free"},
	{"port taken", func(f *Facts) { f.Hosts[0].Status.Node = api.NodeStatus{} }, CodePort, "s1", Critical, "cannot start"},
	{"port taken by somebody", func(f *Facts) {
		f.Hosts[0].Status.Node, f.Hosts[0].Ports[0].Holder = api.NodeStatus{}, process.Identity{}
	}, CodePort, "s1", Critical, "cannot start"},

	{"open RPC", func(f *Facts) { f.Hosts[0].Listen.RPC = "0.0.0.0:26657" }, CodeRPC, "s1", Critical, "where"},
	{"RPC of the mesh", func(f *Facts) { f.Hosts[0].Listen.RPC = "[::1]:26657" }, CodeRPC, "s1", OK, ""},
	{"disarmed", func(f *Facts) {
		f.Hosts[1].Status.Signing = api.SigningStatus{State: signing.Disarmed, Reason: "the sign state was rolled back"}
	}, "disarmed", "validator", Warning, "the sign state was rolled back"},
	{"jailed", func(f *Facts) { f.Hosts[1].Status.Signing.Jailed = true }, "jailed", "validator", Critical, "jailed"},
	{"tombstoned", func(f *Facts) { f.Hosts[1].Status.Signing.Tombstoned = true }, "tombstoned", "validator", Critical, "signing twice"},
	{"armed, node down", func(f *Facts) { f.Hosts[1].Status.Signing.Window = 0 }, CodeSigning, "validator", OK, "was not asked"},
	{"key away", func(f *Facts) { f.Hosts[1].Status.Signing = api.SigningStatus{State: signing.None} }, CodeSigning, "validator", NotChecked, "not known"},
	{"no backup", func(f *Facts) { f.Hosts[1].Backup.Present = false }, CodeBackup, "validator", Critical, "no backup"},
	{"bad backup", func(f *Facts) { f.Hosts[1].Backup.Err = "it holds another key than the host" }, CodeBackup, "validator", Critical, "another key"},
	{"sealed backup", func(f *Facts) { f.Hosts[1].Backup.Opened = false }, CodeBackup, "validator", OK, "not opened"},
}

func TestJudge(t *testing.T) {
	for _, tt := range slices.Concat(ofComputer, ofFolder, ofOperator, ofHosts) {
		t.Run(tt.name, func(t *testing.T) {
			f := goodFacts()
			tt.spoil(&f)
			find(t, Judge(f), tt.code, tt.subject, tt.want, tt.says)
		})
	}
}

// find demands a check, and that there is something to do about it if it is bad.
func find(t *testing.T, checks []Check, code, subject string, want Verdict, says string) {
	t.Helper()
	var of []Check
	for _, c := range checks {
		if c.Code != code || c.Subject != subject {
			continue
		}
		if c.Verdict == want && strings.Contains(c.Message, says) {
			if (want == Critical || want == Warning) && c.Next == "" {
				t.Errorf("nothing to do about %+v", c)
			}
			return
		}
		of = append(of, c)
	}
	t.Errorf("want %s of %s to be %s and to say %q, got %+v", code, subject, want, says, of)
}

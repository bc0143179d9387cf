package doctor

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/signing"
	"github.com/pressenter/pressenter/internal/vpncloud"
)

const (
	healFork       = "run 'pressenter plan', then 'pressenter apply': it makes a generation that follows both"
	recoverKeyring = "'pressenter key recover FILE' brings it back from its recovery copy; without it the deployment runs on and cannot be changed"
)

// side judges what the operator holds of a deployment.
func side(s Side) []Check {
	about := about{s.Name}
	if s.Err != "" {
		return []Check{about.critical(CodeOperator, "the operator's files cannot be used: "+s.Err, "",
			"put them back from a copy; hosts go on without them")}
	}
	cs := []Check{keyringOf(s), permissions(about, s.Modes)}
	if s.Driver == roster.MeshVpnCloud {
		cs = append(cs, about.warning(CodeMesh, vpncloud.Discloses, "mesh.driver: "+s.Driver, "use mesh.driver: "+roster.MeshWireGuard))
	}
	return cs
}

func keyringOf(s Side) Check {
	about, k := about{s.Name}, s.Keyring
	switch {
	case k.Err != "":
		return about.critical(CodeKeyring, "the operator's keyring cannot be opened: "+k.Err, k.Path, recoverKeyring)
	case !k.Present:
		return about.critical(CodeKeyring, "there is no operator keyring", k.Path, recoverKeyring)
	case k.Protected:
		c := about.ok(CodeKeyring, "the operator's keyring is there, under a passphrase; it was not opened", k.Path)
		c.Next = "'pressenter key recovery-copy FILE' writes a copy to keep elsewhere, if there is none yet"
		return c
	case s.Practice:
		return about.ok(CodeKeyring, "the operator's keyring opens; it is not protected, which is for practice only", k.Path)
	}
	return about.warning(CodeKeyring, "the operator's keyring is not protected: whoever reads it owns the deployment", k.Path, "protect it by a passphrase, and keep a copy elsewhere")
}

// permissions judges who may read keys.
func permissions(a about, modes []Mode) Check {
	var wrong []string
	next := "chmod 700 folders and chmod 600 files, as their owner"
	for _, m := range modes {
		switch {
		case m.Err != "":
			wrong = append(wrong, fmt.Sprintf("%s: %s", m.Path, m.Err))
		case !m.Owned:
			wrong, next = append(wrong, m.Path+" belongs to somebody else"), "chown -R it to whoever runs pressenter"
		case m.Got&^m.Want != 0:
			wrong = append(wrong, fmt.Sprintf("%s has mode %04o, want %04o", m.Path, m.Got, m.Want))
		}
	}
	if len(modes) == 0 {
		return a.notChecked(CodePermissions, "there are no keys yet", "")
	}
	if len(wrong) > 0 {
		return a.critical(CodePermissions, "others may reach what only the owner should: "+strings.Join(wrong, "; "), fmt.Sprintf("%d of %d files and folders", len(wrong), len(modes)), next)
	}
	return a.ok(CodePermissions, "keys are their owner's alone", fmt.Sprintf("%d files and folders", len(modes)))
}

// rosters judges whether all hosts of one side hold what the operator holds.
func rosters(s Side, hosts []Host) []Check {
	if s.Err != "" {
		return nil
	}
	about := about{s.Name}
	if len(s.Heads) == 0 {
		return []Check{about.notChecked(CodeRoster, "no roster was published yet", "run 'pressenter apply'")}
	}
	if s.Fork {
		return []Check{about.critical(CodeRoster, "the roster is forked: two operators published at once, and nobody is assigned to sign",
			strings.Join(short(s.Heads), ", "), healFork)}
	}
	asked, same := 0, 0
	var cs []Check
	for _, h := range hosts {
		if h.World != s.World || !h.Agent {
			continue
		}
		asked++
		if c, bad := rosterOf(s, h); bad {
			cs = append(cs, c)
			continue
		}
		same++
	}
	measured := fmt.Sprintf("generation %d (%s), %d of %d hosts that answer", s.Generation, short(s.Heads)[0], same, asked)
	if len(cs) > 0 || asked == 0 {
		if asked == 0 {
			cs = append(cs, about.notChecked(CodeRoster, "no host answers, so their rosters were not compared", "run 'pressenter start'"))
		}
		return cs
	}
	return []Check{about.ok(CodeRoster, "every host that answers holds the same roster as the operator", measured)}
}

func rosterOf(s Side, h Host) (Check, bool) {
	about, r := about{h.Name}, h.Status.Roster
	measured := fmt.Sprintf("host: generation %d (%s), operator: generation %d (%s)", r.Generation, strings.Join(short(r.Heads), ", "), s.Generation, short(s.Heads)[0])
	switch {
	case r.Fork:
		return about.critical(CodeRoster, "the host sees a forked roster, and obeys only what both sides share", measured, healFork), true
	case len(r.Heads) == 0:
		return about.warning(CodeRoster, "the host holds no roster yet", measured, "run 'pressenter apply'"), true
	case !slices.Equal(r.Heads, s.Heads):
		return about.warning(CodeRoster, "the host and the operator hold different rosters", measured, "run 'pressenter apply': it first adopts the newest"), true
	case !r.Learned:
		return about.warning(CodeRoster, "the host was not told since it came up that its roster is the newest", measured, "run 'pressenter start'"), true
	}
	return Check{}, false
}

func short(hashes []string) []string {
	out := make([]string, len(hashes))
	for i, h := range hashes {
		out[i] = h[:min(len(h), 12)]
	}
	return out
}

// host judges one host.
func host(h Host, p Program) []Check {
	about := about{h.Name}
	if !h.Exists {
		return []Check{about.critical(CodeAgent, "the host is gone: its folder is not there", h.Folder, "run 'pressenter apply' to make it again, or put the folder back")}
	}
	cs := []Check{agentOf(h, p)}
	cs = append(cs, nodeOf(h)...)
	for _, p := range h.Ports {
		cs = append(cs, port(h, p))
	}
	cs = append(cs, openRPC(h))
	if !h.OnMachine() { // there its agent keeps them right, and says so
		cs = append(cs, permissions(about, h.Modes))
	}
	if h.Key() {
		cs = append(cs, signingOf(h)...)
		cs = append(cs, backup(h))
	}
	for _, f := range h.Status.Findings {
		cs = append(cs, about.finding(f))
	}
	return cs
}

func agentOf(h Host, p Program) Check {
	about, a := about{h.Name}, h.Status.Agent
	switch {
	case !h.Agent && h.Status.Intent.Stopped:
		return about.info(CodeAgent, "its agent does not run: "+stoppedBy(h), "", "'pressenter start' brings it back")
	case !h.Agent:
		return about.warning(CodeAgent, "its agent does not run, so nothing is repaired here", "", "run 'pressenter start'; see "+filepath.Join(h.Folder, "agent.log"))
	case a.Version != p.Version:
		return about.warning(CodeVersion, "its agent is of another version than this program", fmt.Sprintf("%s, this is %s", a.Version, p.Version), "run 'pressenter stop' and 'pressenter start' to change it; the same version everywhere is what is tested")
	}
	return about.ok(CodeAgent, "its agent runs", fmt.Sprintf("process %d, %s, %s", a.PID, a.Version, size(a.RSSBytes)))
}

func stoppedBy(h Host) string { return "stopped by " + h.Status.Intent.By }

// nodeOf judges what runs on a host.
func nodeOf(h Host) []Check {
	about, n := about{h.Name}, h.Status.Node
	switch {
	case n.Phase == "unknown":
		return []Check{about.critical(CodeNode, "whether its node runs cannot be told: "+orElse(h.Status.Reason, "nobody says why"), n.Phase, "see 'pressenter status'; if the node is to be down, look on the host itself")}
	case h.Status.Intent.Stopped && n.Phase != "down":
		return []Check{about.warning(CodeNode, "its node is not down yet, and was "+stoppedBy(h), n.Phase, "see 'pressenter status'")}
	case h.Status.Intent.Stopped:
		return []Check{about.info(CodeNode, "its node is down: "+stoppedBy(h), n.Phase, "'pressenter start "+h.Name+"' brings it back")}
	case n.DaemonPID == 0:
		return []Check{about.critical(CodeNode, "its node does not run: "+orElse(h.Status.Reason, "nobody says why"), n.Phase, "see 'pressenter status' and 'pressenter logs "+h.Name+"'")}
	case n.SupervisorPID == 0:
		return []Check{about.warning(CodeNode, "its node runs and nobody supervises it", fmt.Sprintf("process %d", n.DaemonPID), "wait for a minute; if it stays so, see "+filepath.Join(h.Folder, "supervisor.log"))}
	case !n.Answers:
		if !h.Agent {
			return []Check{about.notChecked(CodeNode, "its node runs; whether it answers was not asked, because its agent does not run", "run 'pressenter start'")}
		}
		return []Check{about.warning(CodeNode, "its node runs and does not answer", n.Phase, "see 'pressenter logs "+h.Name+"'")}
	}
	measured := fmt.Sprintf("process %d, height %d, %d peers", n.DaemonPID, n.Height, len(n.Peers))
	cs := []Check{about.ok(CodeNode, "its node runs and answers", measured)}
	if n.CatchingUp {
		cs = []Check{about.info(CodeNode, "its node runs and is catching up", measured, "")}
	}
	if e := h.Status.Enrolled; e != nil && n.NodeID != "" && n.NodeID != e.NodeID {
		cs = append(cs, about.critical(CodeNodeID, "another node answers than the one that was enrolled", fmt.Sprintf("%s, enrolled %s", n.NodeID, e.NodeID), "see who listens at "+h.Listen.RPC))
	}
	return cs
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// port judges whether a port is free for a node that is down, or its own for one that runs.
func port(h Host, p Port) Check {
	about, own := about{h.Name}, h.Status.Node.DaemonPID
	name := fmt.Sprintf("%s port %s", p.Name, p.Addr)
	by := p.Who
	if by == "" {
		by = "a program of somebody else"
	}
	held := fmt.Sprintf("held by process %d (%s)", p.Holder.PID, by)
	const next = "end that program, or move it to another port"
	switch {
	case p.Free && own == 0:
		return about.ok(CodePort, "the "+name+" is free", "free")
	case p.Free:
		return about.info(CodePort, fmt.Sprintf("the node runs and does not listen on its %s yet", name), "free", "wait until it has started; see 'pressenter logs "+h.Name+"'")
	case p.Err != "" && own != 0:
		return about.notChecked(CodePort, fmt.Sprintf("the %s is in use; whether by the node is not known: %s", name, p.Err), "")
	case p.Holder.PID != 0 && p.Holder.PID == own:
		return about.ok(CodePort, fmt.Sprintf("the %s is the node's", name), held)
	case p.Holder.PID == 0 && own == 0:
		return about.critical(CodePort, fmt.Sprintf("the %s is in use, and the node cannot start", name), "by whom is not known", "find out with 'ss -ltnp' as root, then "+next)
	case p.Holder.PID == 0:
		return about.critical(CodePort, fmt.Sprintf("the %s is in use, and not by the node", name), "by whom is not known", "find out with 'ss -ltnp' as root, then "+next)
	case own == 0:
		return about.critical(CodePort, fmt.Sprintf("the %s is in use, and the node cannot start", name), held, next)
	}
	return about.critical(CodePort, fmt.Sprintf("the %s is in use, and not by the node", name), held, next)
}

// openRPC: whoever may ask a sentry for its peers is told where the validator is.
func openRPC(h Host) Check {
	about := about{h.Name}
	name, _, err := net.SplitHostPort(h.Listen.RPC)
	if err != nil {
		return about.notChecked(CodeRPC, "it has no RPC address", "")
	}
	if ip, err := netip.ParseAddr(name); name == "localhost" || err == nil && ip.IsLoopback() {
		where := "on this computer"
		if h.OnMachine() {
			where = "on its own server"
		}
		return about.ok(CodeRPC, "its RPC, which tells its peers, answers "+where+" only", h.Listen.RPC)
	}
	if h.Role == roster.RoleGenesisValidator {
		return about.info(CodeRPC, "its RPC is open to others", h.Listen.RPC, "")
	}
	return about.critical(CodeRPC, "its RPC is open to others, and tells them who the validator is and where", h.Listen.RPC, "let it listen on loopback")
}

// signingOf judges whether the host's consensus key may sign, and whether the chain lets it.
func signingOf(h Host) (cs []Check) {
	about, s := about{h.Name}, h.Status.Signing
	for _, f := range s.Findings(h.Name) {
		cs = append(cs, about.finding(f))
	}
	last := fmt.Sprintf("signed height %d last", s.LastHeight)
	switch {
	case len(cs) > 0:
		return cs
	case s.State != signing.Armed:
		return []Check{about.notChecked(CodeSigning, "whether its consensus key may sign is not known", "see 'pressenter status'")}
	case s.Window == 0: // no node told what the chain holds of it
		return []Check{about.ok(CodeSigning, "its consensus key may sign; whether the chain jailed it was not asked", last)}
	}
	return []Check{about.ok(CodeSigning, "its consensus key may sign, and the chain does not say that it is jailed", last)}
}

func backup(h Host) Check {
	about, b := about{h.Name}, h.Backup
	to := b.Path
	if b.Present { // which may be of a key that is still wanted
		to = filepath.Join(filepath.Dir(b.Path), h.Name+".host.key.age")
	}
	next := fmt.Sprintf("copy the sealed one that the host keeps: cp %s %s", filepath.Join(h.Folder, "agent", "consensus-key.age"), to)
	switch {
	case !b.Present && h.Practice && h.World:
		return about.info(CodeBackup, "there is no backup of its consensus key", b.Path, next)
	case !b.Present:
		return about.critical(CodeBackup, "there is no backup of its consensus key: if its disk is lost, so is the validator", b.Path, next)
	case b.Err != "":
		return about.critical(CodeBackup, "the backup of its consensus key is of no use: "+b.Err, b.Path, next)
	case !b.Opened:
		return about.ok(CodeBackup, "there is a backup of its consensus key; it was not opened, because the keyring is protected", b.Path)
	}
	return about.ok(CodeBackup, "there is a backup of its consensus key, and it opens. Keep a copy elsewhere", b.Path)
}

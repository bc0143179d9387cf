package adopt

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/signing"
)

// Plan is what taking over would mean. Making it changed nothing.
type Plan struct {
	Host    string `json:"host"`
	Address string `json:"address"`
	Found   *Found `json:"found"`
	// Changes is what looking changed, and what would change before a restart that somebody plans: nothing.
	Changes int `json:"changes"`
	// Implemented says whether this version can take this node over into what the config says.
	Implemented bool             `json:"implemented"`
	Stays       []string         `json:"stays"`
	Takeover    []Step           `json:"takeover"`
	Findings    []health.Finding `json:"findings"`
}

// Step is one of a takeover, in this order and each done before the next begins.
type Step struct {
	What string `json:"what"`
	// Reboot is what runs after a reboot right after it: at no time both the old unit and ours.
	Reboot string `json:"after_reboot"`
	// NoReturn: until this step begins a takeover can be undone, and not any more after that.
	NoReturn bool `json:"no_return,omitempty"`
}

// Wanted is what the config says of the host.
type Wanted struct {
	Host, Address string
	Validator     bool
	ChainID       string // of a private network; empty: the config makes a network of its own
	Exists        bool   // the config says that the network is there already
	Program       string // hex SHA-256 of the daemon that would run; empty: it was not found
	Volume        bool   // the config has a volume of its own for the node's data
}

// Make makes the plan. It is a function of what was found and of what is wanted.
func Make(f *Found, w Wanted) Plan {
	p := Plan{Host: w.Host, Address: w.Address, Found: f, Findings: append([]health.Finding{}, f.notes...)}
	p.Stays = []string{fmt.Sprintf("%s goes on under its present unit: not restarted, not edited", f.Unit.Name)}
	if f.Home.Path != "" {
		p.Stays = append(p.Stays, "every file in "+f.Home.Path)
	}
	p.Stays = append(p.Stays, "users, packet filter, SSH and packages of the server")
	p.judge(f, w)
	p.Takeover = takeover(f)
	health.Sort(p.Findings)
	critical := func(f health.Finding) bool { return f.Severity == health.Critical }
	p.Implemented = w.Exists && !slices.ContainsFunc(p.Findings, critical)
	return p
}

// judge tells what of what was found does not fit what is wanted.
func (p *Plan) judge(f *Found, w Wanted) {
	add := func(code string, s health.Severity, next, format string, args ...any) {
		p.Findings = append(p.Findings, health.Finding{Code: code, Severity: s, Subject: w.Host, Message: fmt.Sprintf(format, args...), Next: next})
	}
	if f.Role == RoleUnknown {
		add("role", health.Critical, "Start it, so that it can be asked, and look again.", "It cannot be told whether this node signs.")
	} else if (f.Role == RoleValidator) != w.Validator {
		add("role", health.Critical, "Name the host that the config means.", "The config has %s as a %s, and there is a %s.", w.Host, wantedRole(w), f.Role)
	}
	if w.ChainID != "" && f.Node.ChainID != "" && w.ChainID != f.Node.ChainID {
		add("chain", health.Critical, "", "The config is for the chain %q, and the node is on %q.", w.ChainID, f.Node.ChainID)
	} else if !w.Exists {
		add("network", health.Critical, "Describe the network in the config's chain block, with exists: true.", "The config makes a network of its own, and the node is on %q, which is there already.", f.Node.ChainID)
	} else {
		p.fits(f, w, add)
	}
	if f.Node.CatchingUp {
		add("catching-up", health.Warning, "", "The node is catching up.")
	}
	if f.Role != RoleValidator {
		return
	}
	switch {
	case f.Key.Remote != "":
		add("remote-signer", health.Critical, "", "A signer elsewhere has the key; it connects to %s. Which one that is, and how far it has signed, is not known here.", f.Key.Remote)
	case f.Key.Type != "tendermint/PubKeyEd25519":
		add("key-type", health.Critical, "", "The consensus key is of type %q; only ed25519 is implemented.", f.Key.Type)
	case !f.Key.Mark.Known:
		add("mark", health.Critical, "", "There is no sign state: how far the key has signed is not known.")
	default:
		add("file-key", health.Warning, "", "The key is in a file that the daemon reads. Whoever has a copy of it can sign: nobody can see from here that there is none.")
	}
	if f.Node.Answers && f.Key.Power == 0 {
		add("not-in-set", health.Warning, "", "The validator is not in the active set now, so its silence would prove nothing.")
	}
	if f.Key.Power > 0 && f.Key.Signed == 0 {
		add("not-signing", health.Warning, "", "The validator is in the set, and the newest blocks have no signature of its.")
	}
	if f.Node.PEX {
		add("seen", health.Info, "", "The validator exchanges addresses with its peers: the world may know where it is. Hiding it later does not take that back.")
	}
}

// adding notes a finding.
type adding = func(code string, s health.Severity, next, format string, args ...any)

// fits tells what keeps a node from being taken over into a deployment on its network.
func (p *Plan) fits(f *Found, w Wanted, add adding) {
	if f.Role == RoleSentry || f.Role == RoleFull {
		add("sentry", health.Critical, "Make a new sentry; it catches up by itself.", "Taking over a node that does not sign is not in this version.")
	}
	if f.Program.SHA256 != "" && f.Program.SHA256 != w.Program {
		add("program", health.Critical, "Set chain.binary to a copy of the program that runs there.", "The program that runs there has the SHA-256 %.16s…, the config's daemon %.16s…: taking over is no upgrade.", f.Program.SHA256, w.Program)
	}
	if f.Program.SHA256 == "" {
		add("program", health.Critical, "Start it and look again.", "It is not known which program would have run.")
	}
	if f.Home.Real == "" || f.Key.File != path.Join(f.Home.Path, "config/priv_validator_key.json") || f.Key.StateFile != path.Join(f.Home.Path, "data/priv_validator_state.json") {
		add("places", health.Critical, "", "Key and sign state are not at the usual places of the home: that is not understood.")
	}
	if f.unfit != "" {
		add("files", health.Critical, "", "Its files cannot become those of a validator here: %s.", f.unfit)
	}
	if len(f.apart) > 0 {
		add("apart", health.Critical, "Give the daemon a home of its own, in one piece.", "The home cannot be moved as it is. In the way: %s.", strings.Join(f.apart, "; "))
	}
	if w.Volume {
		add("volume", health.Critical, "Take volume_device out of the config.", "Its home stays where it is, on the server's own disk: it cannot be moved onto a volume.")
	}
	if f.Node.Answers && f.Key.Mark.Height > f.Node.Height+mostAhead {
		add("mark", health.Critical, "", "The sign state is at height %d, and the chain at %d: that is not this chain's, and the key could not sign before it is passed.", f.Key.Mark.Height, f.Node.Height)
	}
	if len(f.Node.Dials) == 0 {
		add("peers", health.Critical, "Set p2p.persistent_peers there to nodes of the network, for the sentries.", "The node names no persistent peers that can be understood: the sentries would find nobody.")
	} else if !slices.ContainsFunc(f.Node.Dials, public) {
		add("peers-private", health.Warning, "Add a node to p2p.persistent_peers that the sentries reach.", "All of its persistent peers have private addresses: a sentry in another network finds nobody there.")
	}
}

// mostAhead is how many blocks a sign state may be ahead of the chain: one was read after the other.
const mostAhead = 100

func wantedRole(w Wanted) Role {
	if w.Validator {
		return RoleValidator
	}
	return RoleSentry
}

// takeover is what would be done at the next restart that somebody plans. Never do two programs have the right to sign:
// the old unit has lost every way to start before the key is touched, and ours gets one only after it was armed.
func takeover(f *Found) []Step {
	const old, neither, keyless, ours = "the old unit, until it is stopped again", "neither", "ours, without the key", "ours alone"
	var steps []Step
	steps = append(steps, Step{What: fmt.Sprintf("stop %s, and prove it: no process is left in its control group", f.Unit.Name), Reboot: old})
	mask := "mask it, so that nothing starts it again"
	if strings.HasPrefix(f.Unit.File, "/etc/systemd/system/") {
		mask = fmt.Sprintf("put %s aside, as systemd masks no unit whose file is there, and mask it: nothing starts it again", f.Unit.File)
	}
	steps = append(steps, Step{What: mask, Reboot: neither},
		Step{What: fmt.Sprintf("prove that it is dead: nothing runs in its control group, and no process has %s open", orHome(f)), Reboot: neither},
		Step{What: fmt.Sprintf("make %s the home of pressenter-node by renaming it, with the same node id and the same program, and look again at all of it", orHome(f)), Reboot: neither})
	signs := f.Role == RoleValidator && f.Key.Remote == ""
	if signs {
		mark := "with its sign state"
		if f.Key.Mark.Known {
			mark = fmt.Sprintf("with its sign state, which is at height %d or more and never goes back", f.Key.Mark.Height)
		}
		steps = append(steps, Step{What: "seal a copy of the consensus key to the operator", Reboot: neither},
			Step{What: "move the consensus key out of the home into a folder of its own, disarmed, " + mark, Reboot: neither, NoReturn: true})
	}
	steps = append(steps, Step{What: "set the server up, admit it to the roster and start pressenter-node.service, behind the sentries, without the key", Reboot: keyless})
	if signs {
		steps = append(steps, Step{What: fmt.Sprintf("arm the key, once %d blocks have passed in which nobody signed with it", signing.SilentBlocks), Reboot: ours})
	}
	return steps
}

func orHome(f *Found) string {
	if f.Home.Path == "" {
		return "the daemon's home"
	}
	return f.Home.Path
}

package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pressenter/pressenter/internal/provision"
)

// Step is one change that apply can make. The set is closed. Every step may be done again: after a crash the plan is
// made anew from what is, and what was done is not in it.
type Step interface {
	// Where is the deployment that the step changes.
	Where() string
	// Host is the host that it changes, "" for the deployment as a whole.
	Host() string
	// String says in words what will change.
	String() string
}

// Kind says what a step does to the world, for the sign in front of it.
type Kind string

// Kinds of steps.
const (
	Create  Kind = "create"
	Change  Kind = "change"
	Bounce  Kind = "restart"
	Destroy Kind = "destroy"
	Wait    Kind = "wait"
)

// On is the place of a step.
type On struct {
	Deployment string `json:"deployment"`
	Name       string `json:"host,omitempty"`
}

// Where implements Step.
func (o On) Where() string { return o.Deployment }

// Host implements Step.
func (o On) Host() string { return o.Name }

type (
	// CreateKeyring makes the operator's keys for a deployment.
	CreateKeyring struct{ On }
	// StageDaemon copies the chain's program into the deployment, by content.
	StageDaemon struct {
		On
		Daemon string `json:"daemon"`
		SHA256 string `json:"sha256"`
	}
	// CreateHost makes a host.
	CreateHost struct {
		On
		Role string `json:"role"`
	}
	// ChangeMachines buys, changes and takes over machines.
	ChangeMachines struct {
		On
		Changes []provision.Change `json:"changes"`
		Destroy bool               `json:"destroys"` // something that there is
	}
	// ReturnMachines gives back what no host needs any more.
	ReturnMachines struct {
		On
		Changes []provision.Change `json:"changes"`
	}
	// StartAgent starts the agent of a host.
	StartAgent struct{ On }
	// RestartAgent replaces the agent of a host by one of this build. Mesh, supervisor and daemon go on.
	RestartAgent struct {
		On
		Runs string `json:"runs,omitempty"` // the build that it is of, if it tells
	}
	// GrowVolume grows the file system of a host's volume to the size that the volume has. The node goes on.
	GrowVolume struct {
		On
		From int `json:"from_gb"`
		To   int `json:"to_gb"`
	}
	// Enroll lets a host bear its keys and brings back their public halves.
	Enroll struct {
		On
		Role string `json:"role"`
		// Anew: it is a validator of a deployment that has a consensus key already, and not seen to be the host that has it.
		Anew bool `json:"anew,omitempty"`
	}
	// PlaceInMesh changes an enrolled host's place in the mesh.
	PlaceInMesh struct {
		On
		Words string `json:"words"`
	}
	// KeepBackup brings back the sealed backup of a consensus key whose host was enrolled without it being kept.
	KeepBackup struct{ On }
	// PrepareGenesis makes the accounts of the practice network's validators.
	PrepareGenesis struct{ On }
	// MakeGenesis makes the practice network's genesis.
	MakeGenesis struct {
		On
		Validators int `json:"validators"`
	}
	// InstallGenesis gives the genesis to a host.
	InstallGenesis struct{ On }
	// HealFork publishes a generation that follows both sides of a fork.
	HealFork struct{ On }
	// PublishRoster publishes the next generation and waits until every host has it.
	PublishRoster struct {
		On
		Generation uint64   `json:"generation"`
		Changes    []string `json:"changes"`
		// Anew is a validator whose host is not the one that the roster has, and is not seen to have its key.
		Anew string `json:"anew,omitempty"`
	}
	// SyncRoster brings a host that was away to the newest generation.
	SyncRoster struct{ On }
	// RestartNode publishes a generation that restarts one node, and waits until it is back.
	RestartNode struct {
		On
		Role string `json:"role"`
		Why  string `json:"why"`
	}
	// DestroyHost stops everything on a host that has left the roster and removes it.
	DestroyHost struct {
		On
		Role string `json:"role"`
	}
	// BeginReplace notes that another machine is to be a host, and that the one that it is stays until that has joined.
	BeginReplace struct{ On }
	// TakeBack notes that a host stays the machine that it was before a replacement began.
	TakeBack struct{ On }
	// TakeOut publishes a roster without a sentry that is made anew in its place.
	TakeOut struct {
		On
		Generation uint64 `json:"generation"`
	}
	// AwaitJoined waits until the validator is linked to a sentry that took the place of another.
	AwaitJoined struct{ On }
	// RemoveReplaced stops everything on a machine whose place another one has taken, and removes it.
	RemoveReplaced struct {
		On
		Machine string `json:"machine"`
		Place   string `json:"place"`
	}
	// AwaitSigning waits until others hold a signature of the validator.
	AwaitSigning struct{ On }
)

// String implements Step.
func (s CreateKeyring) String() string { return "create the operator keyring" }

// String implements Step.
func (s StageDaemon) String() string {
	return fmt.Sprintf("stage %s (sha256 %.12s…)", s.Daemon, s.SHA256)
}

// String implements Step.
func (s CreateHost) String() string { return fmt.Sprintf("create host %s (%s)", s.Name, s.Role) }

// String implements Step.
func (s ChangeMachines) String() string {
	if len(s.Changes) == 0 {
		return "machines: note where they are"
	}
	return "machines: " + machineWords(s.Changes)
}

// String implements Step.
func (s ReturnMachines) String() string { return "give machines back: " + machineWords(s.Changes) }

// String implements Step.
func (s StartAgent) String() string { return fmt.Sprintf("start the agent of %s", s.Name) }

// String implements Step.
func (s RestartAgent) String() string {
	if s.Runs == "" {
		return fmt.Sprintf("restart the agent of %s: it is of another build", s.Name)
	}
	return fmt.Sprintf("restart the agent of %s: it is of another build (%s)", s.Name, s.Runs)
}

// String implements Step.
func (s GrowVolume) String() string {
	return fmt.Sprintf("grow the volume of %s from %d to %d GB, with what is on it, while it is in use", s.Name, s.From, s.To)
}

// String implements Step.
func (s Enroll) String() string {
	if s.Role == "sentry" {
		return fmt.Sprintf("enrol %s: its node key is born there", s.Name)
	}
	return fmt.Sprintf("enrol %s: its node key and consensus key are born there, and a sealed backup is kept", s.Name)
}

// String implements Step.
func (s PlaceInMesh) String() string {
	return fmt.Sprintf("change %s's place in the mesh: %s", s.Name, s.Words)
}

// String implements Step.
func (s KeepBackup) String() string {
	return fmt.Sprintf("keep the sealed backup of %s's consensus key", s.Name)
}

// String implements Step.
func (s PrepareGenesis) String() string { return "create the practice accounts" }

// String implements Step.
func (s MakeGenesis) String() string {
	return fmt.Sprintf("make the genesis of the practice network (%d validators)", s.Validators)
}

// String implements Step.
func (s InstallGenesis) String() string { return fmt.Sprintf("give %s the genesis", s.Name) }

// String implements Step.
func (s HealFork) String() string {
	return "heal the fork of the roster: follow both sides, drop whoever either side removed, retire the signer"
}

// String implements Step.
func (s PublishRoster) String() string {
	if len(s.Changes) == 0 {
		return fmt.Sprintf("publish roster generation %d", s.Generation)
	}
	return fmt.Sprintf("publish roster generation %d: %s", s.Generation, strings.Join(s.Changes, "; "))
}

// String implements Step.
func (s SyncRoster) String() string { return fmt.Sprintf("tell %s the newest roster", s.Name) }

// String implements Step.
func (s RestartNode) String() string {
	if s.Role == "validator" {
		return fmt.Sprintf("restart %s: %s (it misses the blocks meanwhile, about %d)", s.Name, s.Why, restartMisses)
	}
	return fmt.Sprintf("restart %s: %s", s.Name, s.Why)
}

// String implements Step.
func (s DestroyHost) String() string {
	return fmt.Sprintf("destroy host %s (%s): stop it and remove its folder", s.Name, s.Role)
}

// String implements Step.
func (s BeginReplace) String() string {
	return fmt.Sprintf("replace %s: it gets another machine, and the one that it has stays until that has joined", s.Name)
}

// String implements Step.
func (s TakeBack) String() string {
	return fmt.Sprintf("take back the replacement of %s: it stays the machine that the roster has", s.Name)
}

// String implements Step.
func (s TakeOut) String() string {
	return fmt.Sprintf("publish roster generation %d: tombstones %s, which is made anew", s.Generation, s.Name)
}

// String implements Step.
func (s AwaitJoined) String() string {
	return fmt.Sprintf("wait until %s has caught up and the validator is linked to it", s.Name)
}

// String implements Step.
func (s RemoveReplaced) String() string {
	return fmt.Sprintf("destroy what %s was before (%s): stop it and remove its folder", s.Name, s.Place)
}

// String implements Step.
func (s AwaitSigning) String() string {
	return fmt.Sprintf("wait until others hold a signature of %s", s.Name)
}

// restartMisses is about how many blocks a validator with a key of its own misses at a restart: it looks through
// node.DoubleSignCheckHeight blocks for its own signature first.
const restartMisses = 12

// KindOf says what a step does to the world.
func KindOf(s Step) Kind {
	switch st := s.(type) {
	case ChangeMachines:
		if st.Destroy {
			return Destroy
		}
		if slices.ContainsFunc(st.Changes, func(c provision.Change) bool { return c.Resized }) {
			return Bounce
		}
		return Create
	case ReturnMachines:
		return Destroy
	case CreateKeyring, StageDaemon, CreateHost, PrepareGenesis, MakeGenesis, Enroll, KeepBackup:
		return Create
	case RestartNode:
		return Bounce
	case DestroyHost, RemoveReplaced:
		return Destroy
	case AwaitSigning, AwaitJoined:
		return Wait
	}
	return Change
}

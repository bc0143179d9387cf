// Package provision makes machines with OpenTofu, or with Terraform where that is what people have.
//
// A [Workspace] is a folder with the configuration of package tofu, the state, and the journals of everything that was
// ever done there. The order of use is always the same: [Workspace.Recover] takes into the state what an earlier run made
// and did not note, [Workspace.Plan] says what would change, as values, and [Workspace.Apply] does exactly that.
//
// Whatever may be killed may be killed here. The tool runs in a session of its own and writes its event stream to a file
// and not to us: it goes on when we end, and that file is the journal, in which every resource that was made stands with
// its id. What the tool had made and not yet noted in its state when it was killed itself is found again in the journal, or
// by the label that all resources carry.
package provision

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/pressenter/pressenter/tofu"
)

// Workspace is the folder in which a deployment's machines are kept as code. Only one process may use it at a time.
type Workspace struct {
	Dir  string // absolute; made when it is needed, 0700
	Tool Tool
	// Passphrase encrypts the state and plans, where the tool can: text of at least 16 characters.
	Passphrase []byte
	// Clouds are those whose credentials the tool may see. A plan adds those of which the state still has something.
	Clouds []string
	// Extra names further variables of our environment that the tool may see.
	Extra []string
	// Progress is told what happens, if not nil.
	Progress func(Event)
	// Former are machines that may have been made, whether or not they are wanted, as another record than the journals has
	// them: for when these are gone.
	Former map[string]tofu.Host
	// Looked: a person looked in the clouds' consoles for what is in doubt, so it holds up nothing any more.
	Looked bool

	kept        []string                         // clouds that nobody wants any more and of which something is left
	recovered   bool                             // earlier runs were looked at by this process
	warned      bool                             // that the state is not encrypted
	held        map[string]string                // words about addresses at which nothing may be made
	unknown     bool                             // something may be there, and nobody looked: earlier runs are not done with
	variable    func(name string) (string, bool) // of our environment; nil: os.LookupEnv
	lockTimeout string                           // as lockTimeout, where it is not empty
}

// Machine is what a host became in its cloud.
type Machine struct {
	PublicIPv4   string `json:"public_ipv4"`
	PublicIPv6   string `json:"public_ipv6"`
	PrivateIP    string `json:"private_ip"`
	VolumeDevice string `json:"volume_device"`
	ProviderID   string `json:"provider_id"`
	Region       string `json:"region"`
	SSHUser      string `json:"ssh_user"`
}

// Machines returns what there is according to the state, by CLOUD/HOST.
func (w *Workspace) Machines(ctx context.Context) (map[string]Machine, error) {
	if !w.has(mainFile) {
		return nil, nil
	}
	out, err := w.ask(ctx, "output", "-json")
	if err != nil {
		return nil, fmt.Errorf("read the machines: %w", err)
	}
	var o struct {
		Hosts struct {
			Value map[string]Machine `json:"value"`
		} `json:"hosts"`
	}
	if err := json.Unmarshal(out, &o); err != nil {
		return nil, fmt.Errorf("read the machines: %w", err)
	}
	return o.Hosts.Value, nil
}

// The files of a workspace that are named in more than one place.
const (
	mainFile  = "main.tf.json"
	stateFile = "terraform.tfstate"
	planFile  = "plan.bin"
)

func (w *Workspace) path(elem ...string) string {
	return filepath.Join(append([]string{w.Dir}, elem...)...)
}

// has says whether there is such a file.
func (w *Workspace) has(elem ...string) bool {
	_, err := os.Stat(w.path(elem...))
	return !errors.Is(err, fs.ErrNotExist)
}

// Event is something that happens to one resource, or a word about the whole.
type Event struct {
	At       time.Time
	Address  string        // of the resource; empty for a word about the whole
	Action   string        // create, update, delete, read
	State    EventState    // of the action
	Elapsed  time.Duration // since the action began
	Message  string        // for people
	IDValue  string        // what the cloud calls it, once it is made
	Severity string        // "error" or "warning" of a diagnosis
}

// EventState is how far an action is.
type EventState string

// States of an action.
const (
	Started  EventState = "start"
	Going    EventState = "progress"
	Complete EventState = "complete"
	Errored  EventState = "errored"
	Word     EventState = ""
)

func (w *Workspace) tell(e Event) {
	if w.Progress != nil {
		w.Progress(e)
	}
}

func (w *Workspace) warn(format string, args ...any) {
	w.tell(Event{At: time.Now(), Message: fmt.Sprintf(format, args...), Severity: "warning"})
}

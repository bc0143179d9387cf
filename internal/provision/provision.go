// Package provision makes machines with OpenTofu, or with Terraform where that is what people have.
//
// A [Workspace] is a folder with the configuration of package tofu, the state, and the journals of everything that was
// ever done there. [Workspace.Plan] says what would change as values; [Workspace.Apply] does exactly that.
//
// Whatever may be killed may be killed here. The tool runs in a session of its own and writes its event stream to a file
// and not to us: it goes on when we end, and that file is the journal, in which every resource that was made stands with
// its id. What it had made and not yet noted in its state when it was killed itself is found again in the journal, or by
// the label that all resources carry, and imported by the next plan.
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

	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/tofu"
)

// Workspace is the folder in which a deployment's machines are kept as code. Only one process may use it at a time.
type Workspace struct {
	Dir  string // absolute; made when it is needed, 0700
	Tool Tool
	// Passphrase encrypts the state and plans, where the tool can.
	Passphrase []byte
	// Clouds are those whose credentials the tool may see.
	Clouds []string
	// Extra names further variables of our environment that the tool may see.
	Extra []string
	// Progress is told what happens, if not nil.
	Progress func(Event)
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
	if _, err := os.Stat(w.path("main.tf.json")); errors.Is(err, fs.ErrNotExist) {
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

func (w *Workspace) path(elem ...string) string {
	return filepath.Join(append([]string{w.Dir}, elem...)...)
}

// write puts the configuration in place, and takes away what an earlier one had beyond it.
func (w *Workspace) write(files map[string][]byte) error {
	if err := os.MkdirAll(w.Dir, 0o700); err != nil {
		return err
	}
	if err := os.RemoveAll(w.path("modules")); err != nil {
		return err
	}
	for name, b := range files {
		to := w.path(filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		if err := atomicfile.Write(to, b, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// prepare writes the configuration and gets its providers.
func (w *Workspace) prepare(ctx context.Context, spec tofu.Spec) error {
	files, err := tofu.Root(spec)
	if err != nil {
		return err
	}
	if err := w.write(files); err != nil {
		return fmt.Errorf("write the configuration of machines: %w", err)
	}
	if _, err := w.ask(ctx, "init", "-input=false", "-no-color"); err != nil {
		return fmt.Errorf("get the clouds' providers: %w", err)
	}
	return nil
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

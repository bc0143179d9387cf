package agent

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/node"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/signing"
	"github.com/pressenter/pressenter/internal/supervisor"
)

// signs says whether the daemon that runs now was started with the consensus key.
func (r *rig) signs() bool {
	return r.run.daemon && r.run.signed[len(r.run.signed)-1]
}

func TestTurn(t *testing.T) {
	r := newValidator(t)
	r.mustTurn(t)
	if !r.signs() || r.run.starts != 1 || r.run.stops != 0 {
		t.Fatalf("first turn: %+v", r.run)
	}
	if r.applied != r.head.Hash().String() {
		t.Errorf("applied %q", r.applied)
	}
	spec, err := supervisor.ReadSpec(string(r.Folder))
	must(t, err)
	if spec.Daemon != "practiced" || spec.RPC != "http://127.0.0.1:2" || len(spec.Peers) != 2 || spec.BlockTime != time.Second {
		t.Errorf("spec: %+v", spec)
	}
	before := stat(t, r.Folder.path(supervisor.SpecFile), filepath.Join(r.Folder.Home(), "config", "config.toml"))
	r.mustTurn(t)
	if r.run.starts != 1 || r.run.stops != 0 {
		t.Errorf("second turn did something: %+v", r.run)
	}
	if !slices.Equal(before, stat(t, r.Folder.path(supervisor.SpecFile), filepath.Join(r.Folder.Home(), "config", "config.toml"))) {
		t.Error("second turn wrote files")
	}
}

func stat(t *testing.T, paths ...string) []string {
	t.Helper()
	var out []string
	for _, p := range paths {
		info, err := os.Stat(p)
		must(t, err)
		out = append(out, info.ModTime().String())
	}
	return out
}

// Retiring the key's holder, forking the roster or disarming the key ends a signing daemon before anything is
// acknowledged: its configuration is read only when it starts.
func TestSigningEndsAtOnce(t *testing.T) {
	for name, change := range map[string]func(*testing.T, *rig){
		"retired": func(t *testing.T, r *rig) {
			r.next(t, func(n *roster.Roster) { n.Signer.Holder = "" })
		},
		"fork": func(t *testing.T, r *rig) {
			a, b := roster.Next(r.head), roster.Next(r.head)
			a.Chain.MinGasPrice = "1uprac"
			must(t, r.rosters.Learn([]roster.Envelope{r.sign(t, a), r.sign(t, b)}))
		},
		"retired while somebody is not enrolled yet": func(t *testing.T, r *rig) {
			r.next(t, func(n *roster.Roster) {
				n.Signer.Holder = ""
				s := sentry("s3", "c", n.Generation)
				s.NodeID = ""
				n.Members = append(n.Members, s)
			})
		},
		"sign state lost": func(t *testing.T, r *rig) {
			must(t, os.Remove(filepath.Join(r.Folder.Signing().Dir, signing.StateFile)))
		},
		"arming record damaged": func(t *testing.T, r *rig) {
			must(t, os.WriteFile(filepath.Join(r.Folder.Signing().Dir, "arming.json"), []byte("{"), 0o600))
		},
		"rosters lost": func(t *testing.T, r *rig) {
			r.rosters = newKeeper(t).rosters
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newValidator(t)
			r.mustTurn(t)
			if !r.signs() {
				t.Fatal("it does not sign to begin with")
			}
			change(t, r)
			_ = r.turn(t.Context())
			if r.signs() {
				t.Errorf("it still signs; applied %q, head %q", r.applied, r.head.Hash())
			}
			if node.Signs(r.Folder.Home()) && r.run.daemon {
				t.Error("and its home is still pointed at the key")
			}
		})
	}
}

// A daemon that cannot be stopped keeps the change from being acknowledged.
func TestSigningDoesNotEnd(t *testing.T) {
	r := newValidator(t)
	r.mustTurn(t)
	r.next(t, func(n *roster.Roster) { n.Signer.Holder = "" })
	r.run.stopErr = errors.New("it does not die")
	if err := r.turn(t.Context()); err == nil {
		t.Error("no trouble")
	}
	if r.applied == r.head.Hash().String() {
		t.Error("acknowledged all the same")
	}
}

// Without a restart in the roster, a change of configuration alone restarts nothing.
func TestChangeRestartsNothing(t *testing.T) {
	r := newValidator(t)
	r.mustTurn(t)
	before, err := supervisor.ReadSpec(string(r.Folder))
	must(t, err)
	r.next(t, func(n *roster.Roster) { n.Members = append(n.Members, sentry("s3", "c", n.Generation)) })
	r.mustTurn(t)
	if r.run.stops != 0 || r.run.starts != 1 {
		t.Errorf("%+v", r.run)
	}
	spec, err := supervisor.ReadSpec(string(r.Folder))
	must(t, err)
	if len(spec.Peers) != 3 || spec.RestartToken != 0 {
		t.Errorf("spec %+v", spec)
	}
	// On a person's computer the node cannot be told either: all of its configuration takes a restart.
	if before.Core == "" || spec.Core == "" || spec.Core == before.Core {
		t.Errorf("what takes a restart is %q, was %q", spec.Core, before.Core)
	}
	r.next(t, func(n *roster.Roster) {
		for i := range n.Members {
			n.Members[i].Restart = n.Generation
		}
	})
	r.mustTurn(t)
	if spec, err = supervisor.ReadSpec(string(r.Folder)); err != nil || spec.RestartToken != r.head.Generation {
		t.Errorf("spec %+v, %v", spec, err)
	}
}

func TestBlockTimeReachesSupervisor(t *testing.T) {
	r := newValidator(t)
	r.mustTurn(t)
	r.next(t, func(n *roster.Roster) { n.Chain.BlockTime = 9 * time.Second })
	r.mustTurn(t)
	if spec, err := supervisor.ReadSpec(string(r.Folder)); err != nil || spec.BlockTime != 9*time.Second {
		t.Errorf("spec %+v, %v", spec, err)
	}
}

// Whatever is damaged, a person's stop is obeyed.
func TestStopIsObeyed(t *testing.T) {
	for name, damage := range map[string]func(*testing.T, *rig){
		"nothing": func(*testing.T, *rig) {},
		"genesis unreadable": func(t *testing.T, r *rig) {
			must(t, os.Remove(r.Folder.genesis()))
			must(t, os.Mkdir(r.Folder.genesis(), 0o700))
		},
		"arming record damaged": func(t *testing.T, r *rig) {
			must(t, os.WriteFile(filepath.Join(r.Folder.Signing().Dir, "arming.json"), []byte("{"), 0o600))
		},
		"spec damaged": func(t *testing.T, r *rig) {
			must(t, os.WriteFile(r.Folder.path(supervisor.SpecFile), []byte("{"), 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newValidator(t)
			r.mustTurn(t)
			damage(t, r)
			must(t, writeJSON(r.Folder.intent(), api.Intent{Stopped: true, By: "me"}))
			_ = r.turn(t.Context())
			if r.run.daemon {
				t.Error("it runs")
			}
			_ = r.turn(t.Context())
			if r.run.starts != 1 {
				t.Error("it was started again")
			}
		})
	}
}

func TestDamagedSpecIsWrittenAnew(t *testing.T) {
	r := newValidator(t)
	r.mustTurn(t)
	must(t, os.WriteFile(r.Folder.path(supervisor.SpecFile), []byte("{\"daemon\":"), 0o600))
	r.mustTurn(t)
	if _, err := supervisor.ReadSpec(string(r.Folder)); err != nil {
		t.Error(err)
	}
	if r.run.stops != 0 {
		t.Error("it was stopped for that")
	}
}

// A sentry that is to restart and whose book holds what it must not tell is down while its book is removed.
func TestBookIsPurgedWhileDown(t *testing.T) {
	r := newValidator(t)
	// The validator's own host plays a sentry here, with another as the validator.
	n := roster.New("hub2", r.head.Admins, r.head.Chain)
	self := sentry("s1", "a", 1)
	self.Identity, self.NodeID = roster.Key(r.host.Enrolled.Identity), r.host.Enrolled.NodeID
	v := roster.Member{Name: "validator", Role: roster.RoleValidator, Identity: roster.Key{7}, NodeID: nodeID("e"), Since: 1}
	n.Members = []roster.Member{self, v}
	r.rosters = newKeeper(t).rosters
	r.publish(t, n)
	r.mustTurn(t)
	book := filepath.Join(r.Folder.Home(), "config", "addrbook.json")
	must(t, os.WriteFile(book, []byte(`{"key":"x","addrs":[{"addr":{"id":"`+nodeID("e")+`","ip":"10.0.0.1","port":26656},"src":{"id":"`+nodeID("e")+`","ip":"10.0.0.1","port":26656},"buckets":[1],"attempts":0,"bucket_type":1}]}`), 0o600))
	r.next(t, func(n *roster.Roster) { n.Members[0].Restart = n.Generation })
	r.mustTurn(t)
	if _, err := os.Stat(book); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the book is still there: %v", err)
	}
	if r.run.stops != 1 || r.run.starts != 2 {
		t.Errorf("%+v", r.run)
	}
}

// A daemon without a supervisor gets one and goes on.
func TestOrphanIsAdopted(t *testing.T) {
	r := newValidator(t)
	r.mustTurn(t)
	r.run.supervisor = false
	r.mustTurn(t)
	if r.run.stops != 0 || r.run.starts != 2 {
		t.Errorf("%+v", r.run)
	}
}

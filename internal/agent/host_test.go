package agent

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/process"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/rosterdir"
	"github.com/pressenter/pressenter/internal/signing"
)

// fakeRunner is a host on which a supervisor and a daemon are two flags.
type fakeRunner struct {
	supervisor, daemon bool
	mesh               bool
	meshStops          int
	starts, stops      int
	stopErr            error
	signed             []bool // at each start: whether the home was pointed at the consensus key
	home               string
	overruled          string
}

func (r *fakeRunner) Start() error {
	r.starts++
	r.supervisor, r.daemon = true, true
	b, err := os.ReadFile(filepath.Join(r.home, "config", "config.toml"))
	r.signed = append(r.signed, strings.Contains(string(b), "consensus_key.json"))
	return err
}

func (r *fakeRunner) Stop(context.Context) error {
	r.stops++
	if r.stopErr == nil {
		r.supervisor, r.daemon = false, false
	}
	return r.stopErr
}

func (r *fakeRunner) Supervisor() (process.Identity, bool) {
	return process.Identity{PID: 11}, r.supervisor
}

func (r *fakeRunner) StartMesh() error {
	r.mesh = true
	return nil
}

func (r *fakeRunner) StopMesh(context.Context) error {
	r.mesh = false
	r.meshStops++
	return nil
}

func (r *fakeRunner) Overruled() (node, mesh string, err error) { return r.overruled, "", nil }

func (r *fakeRunner) Up() (node, mesh bool, err error) {
	return r.supervisor || r.daemon, r.mesh, nil
}

func (r *fakeRunner) Allow() error {
	r.overruled = ""
	return nil
}

func (r *fakeRunner) Mesh() (process.Identity, bool) { return process.Identity{PID: 13}, r.mesh }

func (r *fakeRunner) Daemon() (process.Identity, bool) { return process.Identity{PID: 12}, r.daemon }

// rig is one enrolled host of a deployment whose admin is the test.
type rig struct {
	*keeper
	run   *fakeRunner
	admin ed25519.PrivateKey
	head  *roster.Roster
}

const testGenesis = "{}"

func nodeID(c string) string { return strings.Repeat(c, 40) }

// newKeeper is an agent of an empty host.
func newKeeper(t *testing.T) *keeper {
	t.Helper()
	f := Folder(filepath.Join(t.TempDir(), "host"))
	must(t, os.MkdirAll(f.path("agent"), 0o700))
	rosters, err := rosterdir.Open(f.rosters())
	must(t, err)
	return &keeper{
		Agent:  &Agent{Folder: f, Version: "test", Logger: slog.New(slog.DiscardHandler)},
		runner: &fakeRunner{home: f.Home()}, rosters: rosters, wake: make(chan struct{}, 1), life: t.Context(),
	}
}

// newValidator is an enrolled host with an armed key that the roster assigns to it.
func newValidator(t *testing.T) *rig {
	t.Helper()
	k := newKeeper(t)
	f := k.Folder
	must(t, os.CopyFS(filepath.Join(f.Home(), "config"), os.DirFS("../node/testdata/init")))
	must(t, os.WriteFile(f.genesis(), []byte(testGenesis), 0o600))
	pub, priv, err := ed25519.GenerateKey(nil)
	must(t, err)
	initKey := filepath.Join(f.Home(), "config", "priv_validator_key.json")
	must(t, os.WriteFile(initKey, keyFile(pub, priv), 0o600))
	must(t, f.Signing().TakeBorn(initKey))
	identity, err := f.loadIdentity()
	must(t, err)
	place, err := signing.PlaceOf(string(f))
	must(t, err)
	k.host = &host{
		Enrollment: api.EnrollRequest{
			Name: "validator", Deployment: "hub", Role: string(roster.RoleValidator), ChainID: "practice-1", Daemon: "practiced",
			Listen: api.Listen{P2P: "127.0.0.1:1", RPC: "127.0.0.1:2"},
		},
		Enrolled: api.Enrolled{Name: "validator", Identity: identity.Public().(ed25519.PublicKey), NodeID: nodeID("f"), Consensus: pub},
		Place:    place,
	}
	must(t, writeJSON(f.record(), k.host))
	r := &rig{keeper: k, run: k.runner.(*fakeRunner)}
	adminPub, admin, err := ed25519.GenerateKey(nil)
	must(t, err)
	r.admin = admin
	first := roster.New("hub", []roster.Admin{{Name: "op", Key: roster.KeyOf(adminPub), Capabilities: roster.AllCapabilities()}},
		roster.Chain{ID: "practice-1", GenesisSHA256: sha256.Sum256([]byte(testGenesis)), Daemon: "practiced", MinGasPrice: "0uprac", BlockTime: time.Second})
	first.Members = []roster.Member{
		{Name: "validator", Role: roster.RoleValidator, Identity: roster.Key(k.host.Enrolled.Identity), NodeID: nodeID("f"), Since: 1},
		sentry("s1", "a", 1), sentry("s2", "b", 1),
	}
	r.publish(t, first)
	r.next(t, func(n *roster.Roster) {
		n.Signer = roster.Assignment{Holder: "validator", PubKey: roster.KeyOf(pub), Epoch: 1}
	})
	r.learned = true
	return r
}

func sentry(name, id string, since uint64) roster.Member {
	key := roster.Key{1}
	copy(key[1:], name)
	return roster.Member{Name: name, Role: roster.RoleSentry, Identity: key, NodeID: nodeID(id), Endpoint: "127.0.0.1:3" + fmt.Sprintf("%03d", id[0]), Since: since}
}

func (r *rig) publish(t *testing.T, g *roster.Roster) {
	t.Helper()
	must(t, r.rosters.Publish([]roster.Envelope{r.sign(t, g)}))
	r.head = g
}

func (r *rig) sign(t *testing.T, g *roster.Roster) roster.Envelope {
	t.Helper()
	e, err := roster.Sign(g, r.admin)
	must(t, err)
	return e
}

// next publishes the generation after the head.
func (r *rig) next(t *testing.T, change func(*roster.Roster)) {
	t.Helper()
	n := roster.Next(r.head)
	change(n)
	r.publish(t, n)
}

func (r *rig) mustTurn(t *testing.T) {
	t.Helper()
	must(t, r.turn(t.Context()))
}

func keyFile(pub ed25519.PublicKey, priv ed25519.PrivateKey) []byte {
	return fmt.Appendf(nil, `{"address":%q,"pub_key":{"type":"tendermint/PubKeyEd25519","value":%q},"priv_key":{"type":"tendermint/PrivKeyEd25519","value":%q}}`,
		signing.Address(pub), base64.StdEncoding.EncodeToString(pub), base64.StdEncoding.EncodeToString(priv))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

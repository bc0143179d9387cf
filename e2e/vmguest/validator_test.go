//go:build linux

package vmguest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pressenter/pressenter/internal/comet"
	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/supervisor"
)

// validator is the only one of a chain, with its supervisor. Its folder was made outside.
type validator struct {
	t          *testing.T
	node       comet.Client
	signatures map[int64]comet.Signature // by height, as they were seen first
	mark       int64                     // the highest in its sign state so far
}

const validatorFolder = "/validator"

// TestValidatorClock has a validator whose clock is wrong by a year, to either side, while it runs and when it starts. It goes on
// at the next height each time, signs none twice, and where it cannot start it says why and starts by itself once it can.
func TestValidatorClock(t *testing.T) {
	inside(t)
	bin := filepath.Join(validatorFolder, supervisor.HomeDir, "cosmovisor", "current", "bin")
	if err := errors.Join(os.MkdirAll(bin, 0o700), os.Link("/bin/practiced", filepath.Join(bin, "practiced"))); err != nil {
		t.Fatal(err)
	}
	const rpc = "http://127.0.0.1:26657"
	err := supervisor.WriteSpec(validatorFolder, supervisor.Spec{
		Daemon: "practiced", Args: []string{"--minimum-gas-prices", "0uprac"}, RPC: rpc, BlockTime: time.Second, GracePeriod: 2 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- (&supervisor.Supervisor{Dir: validatorFolder}).Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	v := &validator{t: t, node: comet.Client{URL: rpc}, signatures: map[int64]comet.Signature{}}
	v.signs("with the right clock")
	stepClock(t, -1)
	v.says("clock-behind", "behind the chain's")
	v.kill() // it is before the chain's genesis now, and sleeps until then
	v.says("before-genesis", "this host's clock")
	stepClock(t, 1)
	v.signs("once the clock is right")
	v.silent()
	stepClock(t, 1)
	v.signs("a year ahead")
	v.kill()
	v.signs("started a year ahead")
	v.silent()
	v.same()
}

// await asks until ok is satisfied. The machine's own time limit ends what never is.
func (v *validator) await(what string, ok func() error) {
	v.t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	began, said := time.Now(), ""
	for err := ok(); err != nil; err = ok() {
		if time.Since(began) > 100*time.Second {
			log, _ := os.ReadFile(filepath.Join(validatorFolder, "node.log")) //nolint:errcheck // it fails anyhow
			v.t.Fatalf("%s: %v; the end of the daemon's log:\n%s", what, err, log[max(0, len(log)-12000):])
		}
		if said != err.Error() {
			said = err.Error()
			v.t.Logf("%s: %s", what, said)
		}
		<-tick.C
	}
	v.t.Logf("%s: after %v", what, time.Since(began).Round(time.Second))
}

// says waits for a finding that tells of the clock, and what to do.
func (v *validator) says(code, words string) {
	v.t.Helper()
	v.await("finding "+code, func() error {
		f, err := v.finding(code)
		if err == nil && (!strings.Contains(f.Message, words) || f.Next == "") {
			err = fmt.Errorf("it is said: %+v", f)
		}
		return err
	})
}

// silent waits until nothing is said of the clock any more.
func (v *validator) silent() {
	v.t.Helper()
	for _, code := range []string{"clock-behind", "before-genesis"} {
		v.await("the end of finding "+code, func() error {
			if f, err := v.finding(code); err == nil {
				return fmt.Errorf("it is still said: %+v", f)
			}
			return nil
		})
	}
}

// signs waits for two signatures that are made from now on, each the next after what was signed before.
func (v *validator) signs(when string) {
	v.t.Helper()
	from := v.signed()
	v.await("signatures "+when, func() error {
		at := v.signed()
		st, err := v.node.Status(v.t.Context())
		if err != nil {
			return errors.New("no answer")
		}
		v.see(st.Height)
		if st.Height < from+2 {
			return fmt.Errorf("height %d, signed %d, from %d on", st.Height, at, from)
		}
		return nil
	})
}

// signed is how far the sign state has come, which never goes back.
func (v *validator) signed() int64 {
	v.t.Helper()
	b, err := os.ReadFile(filepath.Join(validatorFolder, supervisor.HomeDir, "data", "priv_validator_state.json"))
	var st struct {
		Height string `json:"height"`
	}
	if err == nil {
		err = json.Unmarshal(b, &st)
	}
	if err != nil {
		v.t.Fatal(err)
	}
	at, err := strconv.ParseInt(st.Height, 10, 64)
	if err != nil || at < v.mark {
		v.t.Fatalf("the sign state went back from %d to %q (%v)", v.mark, st.Height, err)
	}
	v.mark = at
	return at
}

// see notes the signature of every height up to one.
func (v *validator) see(height int64) {
	v.t.Helper()
	for h := int64(len(v.signatures)) + 1; h <= height; h++ {
		sig, err := v.signature(h)
		if err != nil {
			return // it is looked for again
		}
		v.signatures[h] = sig
	}
}

func (v *validator) signature(height int64) (comet.Signature, error) {
	c, err := v.node.Commit(v.t.Context(), height)
	if err != nil {
		return comet.Signature{}, err
	}
	if len(c.Commit.Signatures) != 1 || c.Commit.Signatures[0].Flag == comet.FlagAbsent {
		v.t.Fatalf("height %d has the signatures %+v", height, c.Commit.Signatures)
	}
	return c.Commit.Signatures[0], nil
}

// same reads the whole chain again: every height has the signature that it had when it was new, and none is missing.
func (v *validator) same() {
	v.t.Helper()
	if len(v.signatures) < 6 {
		v.t.Errorf("only %d signatures were seen", len(v.signatures))
	}
	for h, was := range v.signatures {
		if is, err := v.signature(h); err != nil || !cmp.Equal(is, was) {
			v.t.Errorf("height %d was signed %+v, and now %+v (%v)", h, was, is, err)
		}
	}
}

// kill ends the daemon as a crash would.
func (v *validator) kill() {
	v.t.Helper()
	id, err := supervisor.Daemon(validatorFolder)
	if err == nil {
		err = id.Signal(syscall.SIGKILL)
	}
	if err == nil {
		err = id.Wait(v.t.Context())
	}
	if err != nil {
		v.t.Fatal(err)
	}
}

// finding is one of those that the supervisor tells, by its code.
func (v *validator) finding(code string) (health.Finding, error) {
	r, err := supervisor.ReadReport(validatorFolder)
	if err != nil {
		return health.Finding{}, err
	}
	i := slices.IndexFunc(r.Findings, func(f health.Finding) bool { return f.Code == code })
	if i < 0 {
		return health.Finding{}, fmt.Errorf("phase %s, findings %+v", r.Phase, r.Findings)
	}
	return r.Findings[i], nil
}

package fakecloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"syscall"
)

// Faults is what faults.json holds. It is read at every call, so a test may write it while tofu runs.
type Faults struct {
	Faults []Fault        `json:"faults,omitempty"`
	Limits map[string]int `json:"limits,omitempty"` // how many objects of a type the account may have
}

// Fault is one thing that goes wrong.
type Fault struct {
	Op    string `json:"op"`             // create, read, update, delete
	Type  string `json:"type"`           // the resource's type, hcloud_server; * and ? as in file names
	Name  string `json:"name,omitempty"` // its name in the cloud, the same; empty is any
	Fault string `json:"fault"`          // one of the Fault… constants
	Skip  int    `json:"skip,omitempty"` // so many calls that fit are left alone first
	Times int    `json:"times"`          // so many are hit; 0 is once, -1 is always
	At    string `json:"at,omitempty"`   // before or after the cloud has changed; each fault has its own default
}

// What can go wrong. Texts are those of the clouds, in their tables.
const (
	FaultUnavailable = "unavailable"  // no capacity for that size there
	FaultQuota       = "quota"        // the account's limit
	FaultRate        = "rate_limited" // 429 with retry-after, after the provider's own retries
	FaultServerError = "server_error" // 500
	FaultSlow        = "slow"         // waits, after the cloud has changed, until the hook lets it go
	FaultPartial     = "partial"      // it was made and an error is answered; state has it, tainted
	FaultLost        = "lost"         // it was made and the answer got lost; state does not have it
	FaultDeadSSH     = "dead_ssh"     // the hook is told to make a server that nobody can log in to
	FaultLie         = "lie"          // says created, and is not there on read
	FaultStale       = "stale"        // a read answers what was before the last update
	FaultCrash       = "crash"        // the provider's process dies, as by SIGKILL
)

func (s store) faults() (*Faults, error) {
	f := &Faults{}
	raw, err := os.ReadFile(s.path("faults.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, f)
	}
	if err != nil {
		return nil, fmt.Errorf("read the faults: %w", err)
	}
	return f, nil
}

// fault is what goes wrong with this call, counted. Each fault counts by its own text: a file with other faults starts
// anew.
func (s store) fault(w *world, op, typ, name string) (Fault, error) {
	fs, err := s.faults()
	if err != nil {
		return Fault{}, err
	}
	for i, f := range fs.Faults {
		if !f.fits(op, typ, name) {
			continue
		}
		raw, err := json.Marshal(f)
		if err != nil {
			return Fault{}, err
		}
		key := strconv.Itoa(i) + string(raw)
		w.Used[key]++
		n := w.Used[key] - f.Skip
		if n > 0 && (f.Times < 0 || n <= max(f.Times, 1)) {
			return f, nil
		}
	}
	return Fault{}, nil
}

func (f Fault) fits(op, typ, name string) bool {
	okType, _ := path.Match(f.Type, typ)
	okName, _ := path.Match(f.Name, name)
	return f.Op == op && okType && (f.Name == "" || okName)
}

// before is what the fault does while the cloud is as it was.
func (f Fault) before(c *cloud) error {
	switch f.Fault {
	case FaultUnavailable, FaultQuota, FaultRate, FaultServerError:
		if f.At != "after" {
			return errors.New(c.texts[f.Fault])
		}
	case FaultCrash:
		if f.At != "after" {
			crash()
		}
	}
	return nil
}

// errKept says that an error came with the object: tofu keeps it and marks it tainted.
var errKept = errors.New("the object is there, and was not ready")

// after is what the fault does once the cloud has changed.
func (f Fault) after(ctx context.Context, p *provider, op, typ, name string) error {
	switch f.Fault {
	case FaultUnavailable, FaultQuota, FaultRate, FaultServerError, FaultLost:
		return errors.New(p.cloud.texts[FaultServerError])
	case FaultPartial:
		return fmt.Errorf("%s: %w", p.cloud.texts[FaultServerError], errKept)
	case FaultCrash:
		crash()
	case FaultSlow:
		if err := p.hook.hold(ctx, p.cloud.name, op, typ, name); err != nil {
			return fmt.Errorf("wait until %s is ready: %w: %w", name, err, errKept)
		}
	}
	return nil
}

// crash ends this process so that nothing is flushed and nobody is told.
func crash() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

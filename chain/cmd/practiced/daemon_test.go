package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pressenter/pressenter/chain"
)

const (
	// asDaemon in the environment turns the test binary into the daemon, so that the tests execute real processes
	// without linking a second program of this size.
	asDaemon = "PRACTICED_TEST_AS_DAEMON"

	chainID = "practice-test-1"
	// patience is how long anything may take on a machine that is busy with other tests.
	patience = 60 * time.Second
	pollEach = 20 * time.Millisecond
)

func TestMain(m *testing.M) {
	if os.Getenv(asDaemon) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// home is one home folder of the daemon.
type home struct {
	dir string
	rpc string
}

// command is the daemon with some arguments. It is killed when the test ends.
func (h home) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], append(args, "--home", h.dir)...)
	cmd.Env = append(os.Environ(), asDaemon+"=1")
	return cmd
}

// run executes a command to its end and gives back what it wrote to standard output.
func (h home) run(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := h.command(t, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("practiced %s: %v\n%s%s", strings.Join(args, " "), err, &out, &errs)
	}
	return strings.TrimSpace(out.String())
}

// addKey makes a key and gives back its address.
func (h home) addKey(t *testing.T, name string) string {
	t.Helper()
	h.run(t, "keys", "add", name, "--keyring-backend", "test")
	return h.run(t, "keys", "show", name, "--address", "--keyring-backend", "test")
}

// node is a running daemon.
type node struct {
	home
	cmd *exec.Cmd
	log string
	// exited is closed once the process is gone, and err is how it went.
	exited chan struct{}
	err    error
}

// start runs a node on ports that were free a moment ago.
func (h home) start(t *testing.T) *node {
	t.Helper()
	h.rpc = freeAddress(t)
	n := &node{home: h, log: filepath.Join(t.TempDir(), "log"), exited: make(chan struct{})}
	log, err := os.Create(n.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	n.cmd = h.command(t, "start", "--rpc.laddr", "tcp://"+h.rpc, "--p2p.laddr", "tcp://"+freeAddress(t),
		"--rpc.pprof_laddr", "", "--grpc.enable=false")
	n.cmd.Stdout, n.cmd.Stderr = log, log
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		n.err = n.cmd.Wait()
		close(n.exited)
	}()
	t.Cleanup(func() {
		_ = n.cmd.Process.Kill()
		<-n.exited
	})
	return n
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// stop ends the node as systemd does, and fails the test unless it ends well.
func (n *node) stop(t *testing.T) {
	t.Helper()
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-n.exited:
		if n.err != nil {
			t.Fatalf("the node did not end well on SIGTERM: %v\n%s", n.err, n.tail())
		}
	case <-time.After(patience):
		t.Fatalf("the node did not end on SIGTERM\n%s", n.tail())
	}
}

func (n *node) tail() string {
	log, err := os.ReadFile(n.log)
	if err != nil {
		return err.Error()
	}
	return string(log[max(0, len(log)-4000):])
}

// eventually waits until a condition holds, and fails the test with the condition's last complaint.
func (n *node) eventually(t *testing.T, what string, condition func() error) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(pollEach)
	defer tick.Stop()
	for {
		err := condition()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-n.exited:
			t.Fatalf("%s: the node ended: %v\n%s", what, n.err, n.tail())
		case <-deadline:
			t.Fatalf("%s: %v\n%s", what, err, n.tail())
		}
	}
}

func (n *node) height(ctx context.Context) (int64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.rpc+"/status", nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	var status struct {
		Result struct {
			SyncInfo struct {
				Height string `json:"latest_block_height"`
			} `json:"sync_info"`
		} `json:"result"`
	}
	if err := json.Unmarshal(body, &status); err != nil {
		return 0, fmt.Errorf("%w in %q", err, body)
	}
	return strconv.ParseInt(status.Result.SyncInfo.Height, 10, 64)
}

// reach waits for a height.
func (n *node) reach(t *testing.T, want int64) {
	t.Helper()
	n.eventually(t, fmt.Sprintf("reach height %d", want), func() error {
		got, err := n.height(t.Context())
		if err == nil && got < want {
			err = fmt.Errorf("at height %d", got)
		}
		return err
	})
}

// holds waits until an address holds an amount.
func (n *node) holds(t *testing.T, address, amount string) {
	t.Helper()
	n.eventually(t, "hold "+amount, func() error {
		out := n.run(t, "query", "bank", "balance", address, chain.BondDenom, "--node", "tcp://"+n.rpc, "--output", "json")
		var balance struct {
			Balance struct{ Amount, Denom string }
		}
		if err := json.Unmarshal([]byte(out), &balance); err != nil {
			return err
		}
		if balance.Balance.Amount != amount || balance.Balance.Denom != chain.BondDenom {
			return errors.New(out)
		}
		return nil
	})
}

// TestNode is the life of a node: genesis, blocks, a transaction, a stop, and blocks again. The last one fails where
// goleveldb is not the version that go.mod replaces it with.
func TestNode(t *testing.T) {
	h := home{dir: t.TempDir()}
	h.run(t, "init", "node", "--chain-id", chainID)
	alice, bob := h.addKey(t, "alice"), h.addKey(t, "bob")
	h.run(t, "genesis", "add-genesis-account", alice, "1000000000"+chain.BondDenom)
	h.run(t, "genesis", "gentx", "alice", "500000000"+chain.BondDenom, "--chain-id", chainID, "--keyring-backend", "test")
	h.run(t, "genesis", "collect-gentxs")
	h.run(t, "genesis", "validate")
	// The SDK can only validate its own files, and this one is CometBFT's.
	h.run(t, "config", "set", "config", "consensus.timeout_commit", "100ms", "--skip-validate")

	n := h.start(t)
	n.reach(t, 3)
	h.run(t, "tx", "bank", "send", alice, bob, "123"+chain.BondDenom, "--node", "tcp://"+n.rpc, "--chain-id", chainID,
		"--keyring-backend", "test", "--yes")
	n.holds(t, bob, "123")
	n.stop(t)

	n = h.start(t)
	n.eventually(t, "answer", func() error { _, err := n.height(t.Context()); return err })
	restarted, err := n.height(t.Context())
	if err != nil || restarted < 3 {
		t.Fatalf("height after the second start is %d (%v)", restarted, err)
	}
	n.reach(t, restarted+3)
	n.holds(t, bob, "123")
	n.stop(t)
}

// TestGentxForAnotherNode makes a validator's gentx where its account key is, which is not where its node is.
func TestGentxForAnotherNode(t *testing.T) {
	validator, operator := home{dir: t.TempDir()}, home{dir: t.TempDir()}
	validator.run(t, "init", "validator", "--chain-id", chainID)
	pubkey, id := validator.run(t, "comet", "show-validator"), validator.run(t, "tendermint", "show-node-id")

	operator.run(t, "init", "operator", "--chain-id", chainID)
	operator.run(t, "genesis", "add-genesis-account", operator.addKey(t, "alice"), "1000000000"+chain.BondDenom)
	operator.run(t, "genesis", "gentx", "alice", "500000000"+chain.BondDenom, "--chain-id", chainID,
		"--keyring-backend", "test", "--moniker", "validator", "--pubkey", pubkey, "--node-id", id, "--ip", "192.0.2.7")
	operator.run(t, "genesis", "collect-gentxs")
	operator.run(t, "genesis", "validate")

	file, err := os.ReadFile(filepath.Join(operator.dir, "config", "genesis.json"))
	if err != nil {
		t.Fatal(err)
	}
	var key struct{ Key string }
	if err := json.Unmarshal([]byte(pubkey), &key); err != nil || key.Key == "" {
		t.Fatalf("%v in %q", err, pubkey)
	}
	for _, want := range []string{key.Key, id + "@192.0.2.7:26656"} {
		if !strings.Contains(string(file), want) {
			t.Errorf("the genesis file does not name %s", want)
		}
	}
}

// TestFirstFiles looks at what a new home holds: the coin in every module's parameters, and a gas price to start with.
func TestFirstFiles(t *testing.T) {
	h := home{dir: t.TempDir()}
	h.run(t, "init", "node", "--chain-id", chainID)
	genesis, err := os.ReadFile(filepath.Join(h.dir, "config", "genesis.json"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(genesis), `"stake"`) {
		t.Error("the SDK's own coin is in the genesis file")
	}
	config, err := os.ReadFile(filepath.Join(h.dir, "config", "app.toml"))
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("minimum-gas-prices = %q", chain.MinGasPrices); !strings.Contains(string(config), want) {
		t.Errorf("app.toml has no %s", want)
	}
}

// TestCommands finds every command in the tree that is made for it: those that come from the modules are left out of
// the tree of the others.
func TestCommands(t *testing.T) {
	none := home{dir: filepath.Join(t.TempDir(), "none")}
	for _, args := range []string{
		"init", "keys add", "start", "status", "rollback", "export", "version", "debug addr", "config set",
		"comet show-node-id", "tendermint show-validator", "snapshots list", "prune",
		"genesis gentx", "genesis collect-gentxs", "genesis add-genesis-account", "genesis bulk-add-genesis-account",
		"genesis validate", "tx bank send", "tx gov submit-proposal", "tx upgrade software-upgrade",
		"tx staking create-validator", "query bank balances", "q staking validators", "query upgrade plan", "query comet node-info", "query gov proposals",
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			words := strings.Fields(args)
			out := none.run(t, append(words, "--help")...)
			if want := words[len(words)-1]; !strings.Contains(out, "Usage:\n  practiced ") || !strings.Contains(out, want) {
				t.Errorf("no usage of %q in:\n%s", want, out)
			}
		})
	}
	if out := none.run(t, "version", "--long"); !strings.Contains(out, "server_name: practiced") {
		t.Errorf("version: %s", out)
	}
	if _, err := os.Stat(none.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("help and version left something at the home folder: %v", err)
	}
}

// TestCollections holds the order of initialisation that package earlygc relies on.
func TestCollections(t *testing.T) {
	count := func(gogc string) int {
		cmd := home{dir: t.TempDir()}.command(t, "version")
		cmd.Env = append(cmd.Env, "GODEBUG=gctrace=1", "GOMEMLIMIT=", "GOGC="+gogc)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return strings.Count(string(out), " MB goal, ")
	}
	if usual, ours := count("100"), count(""); ours >= usual {
		t.Errorf("%d collections until the version is printed, %d without earlygc", ours, usual)
	}
}

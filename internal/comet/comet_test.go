package comet

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Answers of CometBFT 0.38.26, shortened.
const (
	statusAnswer = `{"jsonrpc":"2.0","id":-1,"result":{"node_info":{"protocol_version":{"p2p":"8","block":"11","app":"0"},
"id":"28107e97ef822b319532cc544346c6fbd1db8579","listen_addr":"tcp://127.0.0.1:31656","network":"prac-1","version":"0.38.26",
"channels":"402021222330386061","moniker":"n1","other":{"tx_index":"on","rpc_address":"tcp://127.0.0.1:31657"}},
"sync_info":{"latest_app_hash":"F9","latest_block_height":"33","latest_block_time":"2026-11-22T23:48:08.179278487Z",
"earliest_block_height":"1","catching_up":false},"validator_info":{"address":"0A209CD38AC2A833069EF2E0B6B115B20CBD7792",
"pub_key":{"type":"tendermint/PubKeyEd25519","value":"MICZ55F/TnczzIHCliQFqfil89otqqwLZd0pShhgAOY="},"voting_power":"50000"}}}`
	netInfoAnswer = `{"jsonrpc":"2.0","id":-1,"result":{"listening":true,"listeners":["Listener(@)"],"n_peers":"1","peers":[{"node_info":
{"id":"ac1099d7b5c1b4dbaf843725eceef409ad7130a4","listen_addr":"tcp://127.0.0.1:30656","network":"prac-1","version":"0.38.26",
"moniker":"n0","other":{"tx_index":"on","rpc_address":"tcp://127.0.0.1:30657"}},"is_outbound":true,
"connection_status":{"Duration":"30619398040"},"remote_ip":"127.0.0.1"}]}}`
	commitAnswer = `{"jsonrpc":"2.0","id":-1,"result":{"signed_header":{"header":{"chain_id":"prac-1","height":"5",
"time":"2026-11-22T23:47:39.891169255Z","last_block_id":{"hash":"9F7C","parts":{"total":1,"hash":"7E"}},"validators_hash":"02",
"app_hash":"BF","proposer_address":"0A209CD38AC2A833069EF2E0B6B115B20CBD7792"},"commit":{"height":"5","round":1,
"block_id":{"hash":"4357","parts":{"total":1,"hash":"33"}},"signatures":[
{"block_id_flag":2,"validator_address":"0A209CD38AC2A833069EF2E0B6B115B20CBD7792","timestamp":"2026-11-22T23:47:40Z","signature":"Xr/F"},
{"block_id_flag":3,"validator_address":"BB","timestamp":"2026-11-22T23:47:40Z","signature":"Xr/F"},
{"block_id_flag":1,"validator_address":"","timestamp":"0001-01-01T00:00:00Z","signature":null},
{"block_id_flag":"BLOCK_ID_FLAG_COMMIT","validator_address":"CC","timestamp":"2026-11-22T23:47:40Z","signature":"Xr/F"}]}},"canonical":true}}`
	blockAnswer = `{"jsonrpc":"2.0","id":-1,"result":{"block_id":{"hash":"4357"},"block":{"header":{"chain_id":"prac-1","height":"5",
"time":"2026-11-22T23:47:39Z","proposer_address":"0A20"},"data":{"txs":["YQ=="]},"evidence":{"evidence":[{"type":"x"}]},
"last_commit":{"height":"4","round":0,"block_id":{"hash":"9F7C"},"signatures":[{"block_id_flag":2,"validator_address":"0A20",
"timestamp":"2026-11-22T23:47:38Z","signature":"Xr/F"}]}}}}`
	abciInfoAnswer = `{"jsonrpc":"2.0","id":-1,"result":{"response":{"data":"practice","version":"dev","last_block_height":"33","last_block_app_hash":"7Ek6"}}}`
	errorAnswer    = `{"jsonrpc":"2.0","id":-1,"error":{"code":-32603,"message":"Internal error","data":"height 99999 must be less than or equal to the current blockchain height 33"}}`
	paramsValue    = "CkEIZBISNTAwMDAwMDAwMDAwMDAwMDAwGgMI2AQiETUwMDAwMDAwMDAwMDAwMDAwKhExMDAwMDAwMDAwMDAwMDAwMA=="
)

// serve answers every path with body.
func serve(t *testing.T, status int, body string) *Client {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(s.Close)
	return &Client{URL: s.URL}
}

func TestStatus(t *testing.T) {
	got, err := serve(t, http.StatusOK, statusAnswer).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	key, err := base64.StdEncoding.DecodeString("MICZ55F/TnczzIHCliQFqfil89otqqwLZd0pShhgAOY=")
	if err != nil {
		t.Fatal(err)
	}
	want := Status{
		NodeID: "28107e97ef822b319532cc544346c6fbd1db8579", ListenAddr: "tcp://127.0.0.1:31656", Network: "prac-1", Moniker: "n1",
		Version: "0.38.26", Height: 33, Time: time.Date(2026, 11, 22, 23, 48, 8, 179278487, time.UTC), Earliest: 1, AppHash: "F9",
		Address: "0A209CD38AC2A833069EF2E0B6B115B20CBD7792", PubKeyType: "tendermint/PubKeyEd25519", PubKey: key, VotingPower: 50000,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := Address(ed25519.PublicKey(key)); got != want.Address {
		t.Errorf("address of the key is %s, the node says %s", got, want.Address)
	}
}

func TestStatusOfOtherLines(t *testing.T) {
	// Numbers as numbers, a key that is not there, and fields that nobody knows.
	body := `{"result":{"node_info":{"id":"x","protocol_version":{"p2p":8}},"sync_info":{"latest_block_height":7,"catching_up":true},
"validator_info":{"address":"AA","pub_key":null,"voting_power":null},"application_info":{"version":"3"}}}`
	got, err := serve(t, http.StatusOK, body).Status(t.Context())
	if err != nil || got.Height != 7 || !got.CatchingUp || got.PubKey != nil || got.VotingPower != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestNetInfo(t *testing.T) {
	got, err := serve(t, http.StatusOK, netInfoAnswer).NetInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := NetInfo{Listening: true, Listeners: []string{"Listener(@)"}, Peers: []Peer{{
		ID: "ac1099d7b5c1b4dbaf843725eceef409ad7130a4", Moniker: "n0", ListenAddr: "tcp://127.0.0.1:30656",
		RPCAddress: "tcp://127.0.0.1:30657", Network: "prac-1", Version: "0.38.26", RemoteIP: "127.0.0.1", Outbound: true,
	}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, ok := got.Peer("ac1099d7b5c1b4dbaf843725eceef409ad7130a4"); !ok {
		t.Error("peer not found")
	}
	if _, ok := got.Peer("x"); ok {
		t.Error("stranger found")
	}
}

func TestCommit(t *testing.T) {
	got, err := serve(t, http.StatusOK, commitAnswer).Commit(t.Context(), 5)
	if err != nil {
		t.Fatal(err)
	}
	if !got.Canonical || got.Header.Height != 5 || got.Header.LastBlock.Hash != "9F7C" || got.Commit.Round != 1 || got.Commit.BlockID.Hash != "4357" {
		t.Errorf("%+v", got)
	}
	for address, want := range map[string]bool{
		"0A209CD38AC2A833069EF2E0B6B115B20CBD7792": true,
		"0a209cd38ac2a833069ef2e0b6b115b20cbd7792": true,
		"BB": false, // voted nil
		"CC": true,  // in words
		"DD": false,
		"":   false,
	} {
		if Signed(got.Commit, address) != want {
			t.Errorf("signed by %q: %v, want %v", address, !want, want)
		}
	}
}

func TestBlock(t *testing.T) {
	got, err := serve(t, http.StatusOK, blockAnswer).Block(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if got.Hash != "4357" || got.Header.Proposer != "0A20" || got.Txs != 1 || got.Evidence != 1 || !Signed(got.LastCommit, "0a20") {
		t.Errorf("%+v", got)
	}
}

func TestABCIInfo(t *testing.T) {
	got, err := serve(t, http.StatusOK, abciInfoAnswer).ABCIInfo(t.Context())
	if err != nil || got.Name != "practice" || got.Height != 33 || got.Version != "dev" || len(got.AppHash) != 3 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestRequests(t *testing.T) {
	var asked string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.Path + "?" + r.URL.Query().Encode()
		_, _ = w.Write([]byte(`{"result":{}}`))
	}))
	defer s.Close()
	c := &Client{URL: s.URL + "/"}
	for want, ask := range map[string]func() error{
		"/commit?":         func() error { _, err := c.Commit(t.Context(), 0); return err },
		"/block?height=12": func() error { _, err := c.Block(t.Context(), 12); return err },
		"/abci_query?data=0x0a0161&path=%22%2Fcosmos.slashing.v1beta1.Query%2FSigningInfo%22": func() error {
			_, err := c.SigningInfo(t.Context(), "a")
			return err
		},
	} {
		if err := ask(); err != nil || asked != want {
			t.Errorf("asked %q, want %q; %v", asked, want, err)
		}
	}
}

func TestErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		status int
		body   string
		words  string
	}{
		"the node's own":    {500, errorAnswer, "must be less than or equal"},
		"somebody else's":   {502, "bad gateway", "502"},
		"a redirect":        {302, "", "302"},
		"not JSON":          {200, "<html>", "decode answer"},
		"no result":         {200, `{"jsonrpc":"2.0"}`, "no result"},
		"a result of null":  {200, `{"result":null}`, "no result"},
		"nonsense for text": {200, `{"result":{"sync_info":{"latest_block_height":"many"}}}`, "many"},
		"too much":          {200, strings.Repeat(" ", maxBody+1), "larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			c := serve(t, tt.status, tt.body)
			_, err := c.Status(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.words) || !strings.Contains(err.Error(), c.URL) {
				t.Errorf("%v, want one with %q and the address", err, tt.words)
			}
		})
	}
	rpc := (*RPCError)(nil)
	if _, err := serve(t, 500, errorAnswer).Commit(t.Context(), 99999); !errors.As(err, &rpc) || rpc.Code != -32603 {
		t.Errorf("%v, want an RPCError", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := serve(t, 200, statusAnswer).Status(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want canceled", err)
	}
}

func FuzzAnswers(f *testing.F) {
	for _, seed := range []string{statusAnswer, netInfoAnswer, commitAnswer, blockAnswer, abciInfoAnswer, errorAnswer} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var status statusJSON
		if decodeResult(body, &status) == nil {
			status.status()
		}
		var net netInfoJSON
		if decodeResult(body, &net) == nil {
			net.netInfo().Peer("x")
		}
		var block blockJSON
		if decodeResult(body, &block) == nil {
			Signed(block.block().LastCommit, "0A20")
		}
		var commit struct {
			SignedHeader SignedHeader `json:"signed_header"`
		}
		if decodeResult(body, &commit) == nil && Signed(commit.SignedHeader.Commit, "") {
			t.Error("signed by nobody")
		}
		var query queryJSON
		if decodeResult(body, &query) == nil {
			_, _ = decodePlan(query.Response.Value)
		}
	})
}

func TestIntRoundTrip(t *testing.T) {
	for in, want := range map[string]Int{`12`: 12, `"12"`: 12, `-3`: -3, `""`: 0, `null`: 0, `"9223372036854775807"`: 1<<63 - 1} {
		var got Int
		if err := json.Unmarshal([]byte(in), &got); err != nil || got != want {
			t.Errorf("%s: %d, %v", in, got, err)
		}
	}
	for _, in := range []string{`"x"`, `1.5`, `"9223372036854775808"`, `{}`, `[]`, `true`} {
		var got Int
		if err := json.Unmarshal([]byte(in), &got); err == nil {
			t.Errorf("%s: taken for %d", in, got)
		}
	}
}

func TestDialPeers(t *testing.T) {
	var asked string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.Path + " " + r.URL.Query().Get("peers") + " " + r.URL.Query().Get("persistent")
		_, _ = w.Write([]byte(`{"jsonrpc":"2.0","id":-1,"result":{"log":"Dialing peers in progress. See /net_info for details"}}`))
	}))
	defer s.Close()
	if err := (&Client{URL: s.URL}).DialPeers(t.Context(), []string{"aa@10.0.0.1:26656", "bb@[fd00::1]:26656"}); err != nil {
		t.Error(err)
	}
	if want := `/dial_peers ["aa@10.0.0.1:26656","bb@[fd00::1]:26656"] true`; asked != want {
		t.Errorf("asked for %s, want %s", asked, want)
	}
	refused := serve(t, http.StatusInternalServerError, errorAnswer)
	if err := refused.DialPeers(t.Context(), []string{"aa@10.0.0.1:1"}); err == nil || !strings.Contains(err.Error(), "whom to dial") {
		t.Errorf("refused: %v", err)
	}
}

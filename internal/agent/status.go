package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/comet"
	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/process"
	"github.com/pressenter/pressenter/internal/signing"
	"github.com/pressenter/pressenter/internal/supervisor"
)

// askTimeout bounds what a status waits for the node.
const askTimeout = 3 * time.Second

// status tells all that the host knows of itself. It asks the node now; nothing is remembered.
func (k *keeper) status(ctx context.Context) api.HostStatus {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	k.mu.Lock()
	h, v, trouble, unwritten, mesh, meshTrouble := k.host, k.verdict, k.trouble, k.unwritten, k.mesh, k.meshTrouble
	found := slices.Concat(k.drift.found, k.drift.rest)
	k.mu.Unlock()
	s := api.HostStatus{
		Agent:  api.AgentStatus{PID: os.Getpid(), Version: k.Version, Build: k.Build, Since: k.started},
		Roster: k.rosterStatus(), Intent: k.Folder.loadIntent(), Node: observeProcesses(k.Folder, k.runner),
		Mesh: mesh, Findings: append(found, k.overruledFindings()...),
	}
	if id, up := k.runner.Mesh(); up {
		s.MeshPID = id.PID
	}
	if unwritten != nil {
		s.Intent = *unwritten
	}
	if self, err := process.Self(); err == nil {
		if u, err := self.Usage(); err == nil {
			s.Agent.RSSBytes, s.Agent.CPUSecs = u.RSS, u.CPU.Seconds()
		}
	}
	s.Reason = v.reason
	if trouble != nil {
		s.Findings = append(s.Findings, health.Finding{
			Code: "agent", Severity: health.Critical, Message: "The agent cannot make the host as it should be: " + trouble.Error() + ".",
			Next: "Mend the cause; the agent goes on by itself.",
		})
	}
	if mesh != nil && meshTrouble != "" { // it answers, and cannot do what it was asked
		s.Findings = append(s.Findings, health.Finding{
			Code: "mesh-behind", Severity: health.Warning, Message: "Its mesh process does not follow the newest roster: " + meshTrouble + ".",
			Next: "Mend the cause; the agent goes on by itself.",
		})
	}
	if v.removed {
		s.Findings = append(s.Findings, health.Finding{
			Code: "removed", Severity: health.Critical,
			Message: "The operator removed this host from the deployment, for ever: its node and its mesh are stopped.",
			Next:    "Nothing brings its keys back. A host that had joined can leave: 'pressenter leave --delete-keys'.",
		})
	}
	s.Findings = append(s.Findings, cutOff(mesh, time.Now())...)
	if h != nil {
		s.Name, s.Deployment, s.Role, s.Listen = h.Enrollment.Name, h.Enrollment.Deployment, h.Enrollment.Role, h.Enrollment.Listen
		s.Enrolled = &h.Enrolled
		s.GenesisHash, _ = k.genesisHash() // an unreadable one is the loop's trouble
		s.Signing = k.signingStatus(ctx, h)
		if s.Node.DaemonPID != 0 {
			askNode(ctx, "http://"+h.Enrollment.Listen.RPC, &s.Node)
		}
	} else {
		s.Signing = k.Folder.recordedSigning() // the record may be lost, and the key be there
	}
	s.Findings = append(s.Findings, s.Node.Findings...)
	s.Node.Findings = nil
	return s
}

func (k *keeper) rosterStatus() api.RosterStatus {
	state := k.rosters.State()
	k.mu.Lock()
	defer k.mu.Unlock()
	s := api.RosterStatus{Fork: state.Fork, Applied: k.applied, Behind: k.behind, Learned: k.learned, Heads: []string{}}
	if id := k.rosters.ID(); !id.IsZero() {
		s.ID = id.String()
	}
	if state.Effective != nil {
		s.Generation = state.Effective.Generation
	}
	for _, h := range state.Heads {
		s.Heads = append(s.Heads, h.String())
	}
	return s
}

// observeProcesses tells what runs in a host's folder; no agent is needed for it.
func observeProcesses(f Folder, r Runner) api.NodeStatus {
	n := api.NodeStatus{Phase: "down"}
	switch up, _, err := r.Up(); {
	case err != nil:
		n.Phase = "unknown"
	case up:
		n.Phase = "starting"
	}
	if id, up := r.Daemon(); up {
		n.DaemonPID, n.Phase = id.PID, "unsupervised"
	}
	id, up := r.Supervisor()
	if !up {
		return n
	}
	n.SupervisorPID, n.Phase = id.PID, "starting"
	var report supervisor.Report
	err := f.asNode(func() (err error) { report, err = supervisor.ReadReport(f.node()); return err })
	if err != nil || report.Supervisor != id {
		return n // it has not written its first report yet
	}
	n.Phase, n.Since, n.Restarts = string(report.Phase), report.Since, report.Restarts
	n.RestartToken, n.Revision, n.Core, n.Findings = report.RestartToken, report.Revision, report.Core, report.Findings
	return n
}

// Inspect tells what runs in a host's folder while its agent does not.
func Inspect(f Folder) api.HostStatus {
	s := api.HostStatus{Intent: f.loadIntent(), Reason: "its agent does not run"}
	runs, err := runnerOf(f, "")
	if err != nil {
		s.Reason += ", and what runs cannot be told: " + err.Error()
		return s
	}
	s.Node = observeProcesses(f, runs)
	if id, up := runs.Mesh(); up {
		s.MeshPID = id.PID
	}
	if h, err := f.loadHost(); err == nil && h != nil {
		s.Name, s.Deployment, s.Role, s.Listen = h.Enrollment.Name, h.Enrollment.Deployment, h.Enrollment.Role, h.Enrollment.Listen
		s.Enrolled = &h.Enrolled
		var genesis hashed
		_ = f.asNode(func() error { return genesis.of(f.genesis()) }) // none is none
		s.GenesisHash = genesis.sum
	}
	s.Signing = f.recordedSigning()
	s.Findings, s.Node.Findings = s.Node.Findings, nil
	return s
}

// StopInspected ends whatever runs in the folder of a host whose agent does not run.
func StopInspected(ctx context.Context, f Folder) error {
	r, err := runnerOf(f, "")
	if err != nil {
		return err
	}
	return errors.Join(r.Stop(ctx), r.StopMesh(ctx))
}

// StopMesh ends the mesh process in the folder of a host whose agent does not run.
func StopMesh(ctx context.Context, f Folder) error {
	r, err := runnerOf(f, "")
	if err != nil {
		return err
	}
	return r.StopMesh(ctx)
}

// AgentOf is the running agent of a host's folder.
func AgentOf(f Folder) (process.Identity, bool) { return holder(f.lock()) }

// cutOffAfter is how long no member may answer before a host says that it may be cut off: longer than a restart of all of
// them.
const cutOffAfter = 10 * time.Minute

// cutOff says that no other member has answered for long. Nobody tells a host that it was removed: who removed it does
// not talk to it any more.
func cutOff(mesh *api.MeshStatus, now time.Time) []health.Finding {
	if mesh == nil || len(mesh.Peers) == 0 {
		return nil
	}
	since := mesh.Since
	for _, p := range mesh.Peers {
		if p.Path != api.PathDown {
			return nil
		}
		if p.Since.After(since) {
			since = p.Since
		}
	}
	if now.Sub(since) < cutOffAfter {
		return nil
	}
	return []health.Finding{{
		Code: "mesh-cut-off", Severity: health.Warning, Since: since,
		Message: fmt.Sprintf("No other member of the mesh has answered since %s: this host is off the network, or it was removed from the deployment.",
			since.UTC().Format(time.RFC3339)),
		Next: "See whether the network is up; if it is, ask the operator. 'pressenter leave' ends what a host does that had joined.",
	}}
}

// askNode adds what the node itself answers.
func askNode(ctx context.Context, rpc string, n *api.NodeStatus) {
	client := &comet.Client{URL: rpc}
	st, err := client.Status(ctx)
	if err != nil {
		return
	}
	n.Answers, n.Version, n.Network, n.NodeID = true, st.Version, st.Network, st.NodeID
	n.Height, n.BlockTime, n.CatchingUp = st.Height, st.Time, st.CatchingUp
	if info, err := client.NetInfo(ctx); err == nil {
		n.Peers = livePeers(info)
	}
}

func livePeers(info comet.NetInfo) []api.Peer {
	out := make([]api.Peer, 0, len(info.Peers))
	for _, p := range info.Peers {
		out = append(out, api.Peer{NodeID: p.ID, Moniker: p.Moniker, RemoteIP: p.RemoteIP, Listen: p.ListenAddr, Outbound: p.Outbound})
	}
	slices.SortFunc(out, func(a, b api.Peer) int {
		if a.NodeID < b.NodeID {
			return -1
		}
		return 1
	})
	return out
}

// signingStatus tells of the consensus key, with the chain's own record of what it missed.
func (k *keeper) signingStatus(ctx context.Context, h *host) api.SigningStatus {
	s := k.Folder.recordedSigning()
	if s.Address == "" {
		return s
	}
	k.mu.Lock()
	if k.watch != "" {
		s.Reason, s.Watching = k.watch, strings.HasPrefix(k.watch, watchPrefix)
	}
	k.mu.Unlock()
	effective := k.rosters.State().Effective
	if effective == nil {
		return s
	}
	client := &comet.Client{URL: "http://" + h.Enrollment.Listen.RPC}
	addr, err := comet.ConsAddress(effective.Chain.Bech32Prefix+"valcons", s.PublicKey)
	if err != nil {
		return s
	}
	if params, err := client.SlashingParams(ctx); err == nil {
		s.Window, s.MinSigned = params.Window, strconv.FormatFloat(params.MinSigned, 'f', -1, 64)
	}
	if info, err := client.SigningInfo(ctx, addr); err == nil {
		s.Missed, s.Tombstoned = info.Missed, info.Tombstoned
		s.Jailed = info.JailedUntil.Unix() > 0 && !k.inSet(ctx, client, s.Address)
	}
	return s
}

// inSet says whether the validator may vote now. A jailed one stays out after its sentence, until it is unjailed.
func (k *keeper) inSet(ctx context.Context, client *comet.Client, address string) bool {
	st, err := client.Status(ctx)
	if err != nil {
		return true // nobody knows: do not cry wolf
	}
	in, err := client.InValidatorSet(ctx, st.Height, address)
	return in || err != nil
}

// recordedSigning is what the host's own files say of its consensus key.
func (f Folder) recordedSigning() api.SigningStatus {
	st, err := f.loadSigning()
	if err != nil {
		return api.SigningStatus{State: signing.Disarmed, Reason: err.Error()}
	}
	if m, err := f.mark(st.PublicKey); st.State == signing.Armed && (err != nil || st.LastHeight < m.Height) {
		st, _ = f.remember(st) // disarms it and writes nothing
	}
	s := api.SigningStatus{State: st.State, Reason: st.Reason, PublicKey: st.PublicKey, LastHeight: st.LastHeight}
	if len(st.PublicKey) > 0 {
		s.Address = signing.Address(st.PublicKey)
	}
	return s
}

// commit is the newest LastCommit in a block of the host's node.
func (k *keeper) commit(ctx context.Context) (api.Commit, error) {
	client, err := k.client()
	if err != nil {
		return api.Commit{}, err
	}
	b, err := client.Block(ctx, 0)
	if err != nil {
		return api.Commit{}, err
	}
	c := api.Commit{Height: int64(b.LastCommit.Height), Time: b.Header.Time, Total: len(b.LastCommit.Signatures)}
	for _, s := range b.LastCommit.Signatures {
		if s.Flag == comet.FlagCommit {
			c.Signers = append(c.Signers, s.Address)
		}
	}
	return c, nil
}

// peers tells whom the host's node knows.
func (k *keeper) peers(ctx context.Context) (api.PeersReply, error) {
	client, err := k.client()
	if err != nil {
		return api.PeersReply{}, err
	}
	info, err := client.NetInfo(ctx)
	if err != nil {
		return api.PeersReply{}, err
	}
	out := api.PeersReply{Peers: livePeers(info), AddressBook: []api.AddressEntry{}}
	book, err := k.addressBook()
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return api.PeersReply{}, err
	}
	for _, e := range book {
		out.AddressBook = append(out.AddressBook, api.AddressEntry{NodeID: e.ID, Addr: e.Address, SourceID: e.SourceID, Source: e.Source})
	}
	return out, nil
}

func (k *keeper) client() (*comet.Client, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.host == nil {
		return nil, refuse(http.StatusConflict, "not-enrolled", fmt.Errorf("this host is not enrolled"), "")
	}
	return &comet.Client{URL: "http://" + k.host.Enrollment.Listen.RPC}, nil
}

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/pressenter/pressenter/internal/agent"
	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/invite"
	"github.com/pressenter/pressenter/internal/local"
	"github.com/pressenter/pressenter/internal/process"
	"github.com/pressenter/pressenter/internal/roster"
)

// newJoinCmd is run on the host that was invited.
func newJoinCmd() *cobra.Command {
	j := joining{}
	c := &cobra.Command{
		Use: "join", Short: "Make this host a sentry of a deployment that invited it", Args: cobra.NoArgs,
		Long: "Enrol this host with the code that 'pressenter invite' printed, which is read from standard input: keys are born here\n" +
			"and stay here, the operator compares their fingerprint, and once admitted the host's agent is started, which brings up\n" +
			"mesh and node. Killed anywhere, or after a reboot, run it again with the same --host: it goes on with the same keys.",
		RunE: func(c *cobra.Command, _ []string) error {
			j.c = c
			return j.run(c.Context())
		},
	}
	j.meeting.flags(c, false)
	f := c.Flags()
	f.StringVar(&j.folder, "host", "pressenter-host", "folder for everything that the host keeps")
	f.StringVar(&j.daemon, "daemon", "", "the chain's program")
	f.StringVar(&j.genesis, "genesis", "", "the chain's genesis file")
	f.StringVar(&j.p2p, "p2p", "", "where the node listens for peers, ADDRESS:PORT")
	f.StringVar(&j.rpc, "rpc", "127.0.0.1:26657", "where the node answers questions, ADDRESS:PORT")
	f.StringVar(&j.mesh, "mesh", "", "where the tunnel listens, UDP, ADDRESS:PORT")
	f.StringVar(&j.relay, "mesh-relay", "", "where it relays for members without UDP, TCP, ADDRESS:PORT (default: it does not)")
	f.StringVar(&j.externalP2P, "external-p2p", "", "where others reach --p2p, if not there, HOST:PORT")
	f.StringVar(&j.externalMesh, "external-mesh", "", "where others reach --mesh, if not there, HOST:PORT")
	f.StringVar(&j.externalRelay, "external-mesh-relay", "", "where others reach --mesh-relay, if not there, HOST:PORT")
	return c
}

// joining is one run of the command.
type joining struct {
	c                                        *cobra.Command
	meeting                                  meeting
	folder, daemon, genesis                  string
	p2p, rpc, mesh, relay                    string
	externalP2P, externalMesh, externalRelay string

	host *agent.Newcomer
	name string
}

// request is what the host says of itself, but for its keys.
func (j *joining) request() (invite.Request, error) {
	r := invite.Request{OS: runtime.GOOS, Arch: runtime.GOARCH}
	var err error
	if r.Hostname, err = os.Hostname(); err != nil {
		r.Hostname = ""
	}
	if _, err := netip.ParseAddrPort(j.rpc); err != nil {
		return r, usageError{fmt.Errorf("--rpc %q is not ADDRESS:PORT", j.rpc)}
	}
	for _, e := range []struct {
		flag, listen, external string
		needed                 bool
		to                     *string
	}{
		{"p2p", j.p2p, j.externalP2P, true, &r.Endpoint},
		{"mesh", j.mesh, j.externalMesh, true, &r.MeshEndpoint},
		{"mesh-relay", j.relay, j.externalRelay, false, &r.Relay},
	} {
		if *e.to, err = endpoint(e.flag, e.listen, e.external, e.needed); err != nil {
			return r, err
		}
	}
	return r, nil
}

// endpoint is where others reach what listens.
func endpoint(flag, listen, external string, needed bool) (string, error) {
	if listen == "" && !needed {
		return "", nil
	}
	ap, err := netip.ParseAddrPort(listen)
	switch {
	case listen == "":
		return "", usageError{fmt.Errorf("--%s is missing: a sentry is reached by others", flag)}
	case err != nil:
		return "", usageError{fmt.Errorf("--%s %q is not ADDRESS:PORT", flag, listen)}
	case external != "":
		return external, nil
	case ap.Addr().IsUnspecified() || ap.Port() == 0:
		return "", usageError{fmt.Errorf("--%s %s says not where others reach it: give --external-%[1]s HOST:PORT", flag, listen)}
	}
	return ap.String(), nil
}

func (j *joining) run(ctx context.Context) error {
	dir, err := filepath.Abs(j.folder)
	if err != nil {
		return err
	}
	j.folder = dir
	j.host, err = agent.Folder(dir).Newcomer()
	var held *process.Held
	if errors.As(err, &held) && held.Holder.Name == agent.LockName {
		return j.report(ctx)
	}
	if err != nil {
		return err
	}
	err = j.become(ctx)
	if err == nil {
		err = j.host.Return(who()) // from having left
	}
	if err = errors.Join(err, j.host.Close()); err != nil {
		return err
	}
	return j.start(ctx)
}

// report says how a host is that has joined.
func (j *joining) report(ctx context.Context) error {
	c := api.Dial(filepath.Base(j.folder), j.folder)
	defer c.Close()
	st, err := c.Status(ctx)
	if err != nil {
		return hint(err, "look at %s", filepath.Join(j.folder, "agent.log"))
	}
	out := j.c.OutOrStdout()
	fmt.Fprintf(out, "this host has joined: it is %s of %s, and its agent runs in %s\n", st.Name, st.Deployment, j.folder)
	fmt.Fprintf(out, "node: %s\n", cmp.Or(st.Reason, fmt.Sprintf("%s, height %d, %d peers", st.Node.Phase, st.Node.Height, len(st.Node.Peers))))
	for i := range st.Findings {
		st.Findings[i].Subject = cmp.Or(st.Findings[i].Subject, st.Name)
	}
	health.Sort(st.Findings)
	printFindings(out, st.Findings, styleFor(out))
	if health.Worst(st.Findings) == health.Critical {
		return errCritical
	}
	return nil
}

// become makes the host a member, unless it is one.
func (j *joining) become(ctx context.Context) error {
	m, member, err := j.host.Membership()
	if err != nil {
		return err
	}
	if !member {
		if err := j.enrol(ctx); err != nil {
			return err
		}
		if m, _, err = j.host.Membership(); err != nil {
			return err
		}
	}
	if j.name = m.Name; j.genesis != "" {
		j.genesis = absolute(j.genesis)
	}
	if err := j.host.InstallGenesis(j.genesis); err != nil {
		return hint(err, "the host is %s now, without a code: run 'pressenter join --host %s --genesis FILE' to go on", m.Name, j.folder)
	}
	return nil
}

// enrol reads the code and does what the two sides do.
func (j *joining) enrol(ctx context.Context) error {
	r, err := j.request()
	if err != nil {
		return err
	}
	if err := j.meeting.check(false); err != nil {
		return err
	}
	for _, file := range []struct{ flag, path string }{{"daemon", j.daemon}, {"genesis", j.genesis}} {
		if file.path == "" {
			return usageError{fmt.Errorf("--%s is missing", file.flag)}
		}
		if info, err := os.Stat(file.path); err != nil || !info.Mode().IsRegular() {
			return usageError{fmt.Errorf("--%s: there is no file %q", file.flag, file.path)}
		}
	}
	carrier, leave, err := j.meeting.open(ctx)
	if err != nil {
		return err
	}
	defer leave()
	code, err := readCode(j.c)
	if err != nil {
		return err
	}
	out := j.c.OutOrStdout()
	fmt.Fprintln(out, "code taken; meeting the operator's side …")
	p, err := invite.Joiner{
		Carrier: carrier, Code: code,
		Apply: func(ctx context.Context, o invite.Offer) (invite.Applicant, error) { return j.apply(ctx, o, r) },
		Asked: func(r invite.Request) {
			fmt.Fprintf(out, "fingerprint of this host: %s\nwaiting until the operator has compared it and said yes …\n", r.Fingerprint())
		},
		Store: func(_ context.Context, _ invite.Offer, envelopes []roster.Envelope) error {
			return j.host.Store(envelopes)
		},
	}.Run(ctx)
	if err != nil {
		return again(ctx, err, "interrupted; run it again with a new code: this host keeps its keys")
	}
	fmt.Fprintf(out, "admitted\ntook %s\n", phaseWords(phases(p)))
	return nil
}

// apply makes the host ready to be what is offered.
func (j *joining) apply(ctx context.Context, o invite.Offer, r invite.Request) (invite.Applicant, error) {
	fmt.Fprintf(j.c.OutOrStdout(), "offered: %s (%s) of %s, on chain %s\n", o.Host, o.Role, o.Deployment, o.ChainID)
	digest, known := o.Binary(r.Platform())
	if !known {
		return invite.Applicant{}, fmt.Errorf("the deployment names no daemon for %s, so that nobody can tell whether %q is the right one", r.Platform(), j.daemon)
	}
	keys, err := j.host.Enroll(ctx, api.EnrollRequest{
		Name: o.Host, Deployment: o.Deployment, Role: string(o.Role), ChainID: o.ChainID, Moniker: o.Host, Daemon: o.Daemon,
		Binary: absolute(j.daemon), BinaryHash: digest.String(), MeshDriver: o.MeshDriver,
		Listen: api.Listen{P2P: j.p2p, RPC: j.rpc, Mesh: j.mesh, Relay: j.relay},
	})
	if err != nil {
		return invite.Applicant{}, err
	}
	r.NodeID = keys.NodeID
	return invite.Applicant{Request: r, Identity: keys.Identity, TLS: keys.TLS, Tunnel: keys.Tunnel}, nil
}

// start starts the agent, which does the rest.
func (j *joining) start(ctx context.Context) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	if err := (local.Provider{Exe: exe}).StartAgent(ctx, deployment.Host{Name: j.name, Folder: j.folder}); err != nil {
		return err
	}
	fmt.Fprintf(j.c.OutOrStdout(), "this host is %s, and its agent runs. Its node starts once the others have told it that its roster is the newest, and syncs\n"+
		"then; see %s, mesh.log and node.log beside it. How it is, and after a reboot: pressenter join --host %[3]s\n"+
		"to end it: pressenter leave --host %[3]s\n", j.name, filepath.Join(j.folder, "agent.log"), j.folder)
	return nil
}

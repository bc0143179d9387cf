package meshrun

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/roster"
	"github.com/pressenter/pressenter/internal/tunnel"
)

// serve answers the agent until ctx is done.
func (r *running) serve(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+api.PathMesh, func(w http.ResponseWriter, _ *http.Request) { reply(w, r.status()) })
	mux.HandleFunc("GET "+api.PathMeshRoster, func(w http.ResponseWriter, _ *http.Request) {
		var out api.RosterReply
		for _, e := range r.rosters.Envelopes() {
			out.Envelopes = append(out.Envelopes, roster.EncodeEnvelope(e))
		}
		reply(w, out)
	})
	mux.HandleFunc("PUT "+api.PathMeshRoster, r.learn)
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	defer context.AfterFunc(ctx, func() { _ = s.Close() })()
	if err := s.Serve(l); ctx.Err() == nil {
		return err
	}
	return nil
}

// learn takes rosters from the agent.
func (r *running) learn(w http.ResponseWriter, req *http.Request) {
	var in api.PublishRequest
	// The agent may be of a newer build: it is restarted alone. What it says beyond this is passed over, see package api.
	if err := json.NewDecoder(http.MaxBytesReader(w, req.Body, api.MaxRequest)).Decode(&in); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	envs := make([]roster.Envelope, len(in.Envelopes))
	for i, b := range in.Envelopes {
		e, err := roster.DecodeEnvelope(b)
		if err != nil {
			refuse(w, http.StatusBadRequest, err)
			return
		}
		envs[i] = e
	}
	if len(envs) > 0 {
		if err := r.rosters.Learn(envs); err != nil {
			refuse(w, http.StatusUnprocessableEntity, err)
			return
		}
		if id := r.rosters.ID(); id != r.spec.Deployment {
			// Only the agent may write here, and it names the deployment in the spec.
			refuse(w, http.StatusConflict, os.ErrInvalid)
			return
		}
		if r.isOpen() {
			r.obey(true)
		} else {
			r.members.Store(membersOf(r.rosters.State().Effective))
		}
	}
	reply(w, struct{}{})
}

// status is the control plane's, with what only this process knows.
func (r *running) status() api.MeshStatus {
	s := r.planned()
	if r.isOpen() {
		s = r.mesh.Status()
		s.Backend, s.Reason = r.driver.backend(), r.device.Reason()
	}
	s.PID, s.Version, s.Since, s.Driver = os.Getpid(), r.Version, r.started, r.spec.Driver
	if k, err := public(r.spec.Driver, *r.key.Load()); err == nil { // the one in use, whatever the files say
		s.Key = tunnel.Key(k).String()
	}
	s.Notes = append(s.Notes, r.troubles.list()...)
	if self, ok := r.memberByID(r.spec.Identity); ok && s.Key != tunnel.Key(self.Mesh.Key).String() && s.Key != tunnel.Key(self.Mesh.Next).String() {
		s.Notes = append(s.Notes, "its tunnel key is not the one in the roster, so nobody lets it in; 'pressenter apply' makes it known")
	}
	if r.isOpen() && r.server != nil {
		s.Relaying = r.server.Members()
	}
	return s
}

// planned is the status of a mesh that is not open yet: it keeps rosters and has no peers.
func (r *running) planned() api.MeshStatus {
	state := r.rosters.State()
	s := api.MeshStatus{
		Backend: r.spec.Backend, Address: roster.MeshAddress(r.spec.Deployment, r.spec.Identity).String(),
		Heads: []string{}, Fork: state.Fork, Peers: []api.MeshPeer{},
	}
	for _, h := range state.Heads {
		s.Heads = append(s.Heads, h.String())
	}
	if state.Effective != nil {
		s.Generation = state.Effective.Generation
	}
	return s
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the agent has gone: nobody to tell
}

func refuse(w http.ResponseWriter, status int, err error) {
	w.WriteHeader(status)
	reply(w, api.Problem{Error: err.Error(), Code: "invalid"})
}

package agent

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/internal/roster"
)

// handler routes what the agent answers.
func (k *keeper) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+api.PathStatus, answer(func(r *http.Request, _ struct{}) (api.HostStatus, error) {
		return k.status(r.Context()), nil
	}))
	mux.HandleFunc("POST "+api.PathEnroll, exactly(k.enroll))
	mux.HandleFunc("PUT "+api.PathGenesis, k.installGenesis)
	mux.HandleFunc("GET "+api.PathRoster, answer(func(*http.Request, struct{}) (api.RosterReply, error) {
		return api.RosterReply{Envelopes: encodeAll(k.rosters.Envelopes())}, nil
	}))
	mux.HandleFunc("PUT "+api.PathRoster, answer(k.publish))
	mux.HandleFunc("PUT "+api.PathIntent, exactly(k.setIntent))
	mux.HandleFunc("POST "+api.PathLock, k.serveLock)
	mux.HandleFunc("GET "+api.PathCommit, answer(func(r *http.Request, _ struct{}) (api.Commit, error) { return k.commit(r.Context()) }))
	mux.HandleFunc("GET "+api.PathSeen, answer(func(r *http.Request, _ struct{}) (api.Seen, error) {
		return k.sees(r.Context(), r.FormValue("address"), r.FormValue("height"))
	}))
	mux.HandleFunc("GET "+api.PathPeers, answer(func(r *http.Request, _ struct{}) (api.PeersReply, error) { return k.peers(r.Context()) }))
	mux.HandleFunc("PUT "+api.PathKey, exactly(k.restoreKey))
	mux.HandleFunc("POST "+api.PathArm, exactly(k.arm))
	mux.HandleFunc("POST "+api.PathRotate, answer(k.rotateMesh))
	mux.HandleFunc("GET "+api.PathLogs, k.serveLogs)
	return mux
}

// problem is an error with what the client can branch on.
type problem struct {
	status int
	api.Problem
}

func (p *problem) Error() string { return p.Problem.Error }

func refuse(status int, code string, err error, hint string) error {
	return &problem{status: status, Problem: api.Problem{Error: err.Error(), Code: code, Hint: hint}}
}

// answer decodes a request, lets f do it and encodes what comes of it. Fields that are not known are passed over: the
// asker may be of a newer build. Package api says where that would not be safe.
func answer[In, Out any](f func(*http.Request, In) (Out, error)) http.HandlerFunc {
	return answerWith(decode, f)
}

// exactly is answer for requests of which nothing may be passed over.
func exactly[In, Out any](f func(*http.Request, In) (Out, error)) http.HandlerFunc {
	return answerWith(decodeKnown, f)
}

func answerWith[In, Out any](read func([]byte, any) error, f func(*http.Request, In) (Out, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in In
		if r.Method != http.MethodGet {
			b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, api.MaxRequest))
			if err == nil {
				err = read(b, &in)
			}
			if err != nil {
				writeProblem(w, unread(err))
				return
			}
		}
		out, err := f(r, in)
		if err != nil {
			writeProblem(w, err)
			return
		}
		writeAnswer(w, http.StatusOK, out)
	}
}

// unread is the problem of a request that could not be read.
func unread(err error) error {
	if p := (*problem)(nil); errors.As(err, &p) {
		return p
	}
	return refuse(http.StatusBadRequest, "invalid", fmt.Errorf("read request: %w", err), "")
}

// decode reads one value. Nothing and null are no value: what they leave out would be taken for what somebody wants.
func decode(b []byte, v any) error {
	if string(bytes.TrimSpace(b)) == "null" {
		return errors.New("it is null")
	}
	return json.Unmarshal(b, v) // refuses what follows a value
}

// decodeKnown is decode that must know every field.
func decodeKnown(b []byte, v any) error {
	if err := decode(b, v); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil { // what else could be wrong with it was looked at before
		return refuse(http.StatusBadRequest, "older", fmt.Errorf("the request is of a newer build than this agent: %s, and doing only a part of it is not safe",
			strings.TrimPrefix(err.Error(), "json: ")), "'pressenter apply' restarts agents of another build before it asks them for anything")
	}
	return nil
}

func writeAnswer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client has gone: nobody to tell
}

func writeProblem(w http.ResponseWriter, err error) {
	p := &problem{status: http.StatusInternalServerError, Problem: api.Problem{Error: err.Error(), Code: "internal"}}
	errors.As(err, &p)
	// Whoever asked gets words only, also where it was the daemon that met the full disk.
	if full := syscall.ENOSPC.Error(); p.Hint == "" && strings.Contains(err.Error(), full) {
		p.Hint = "the disk is full: free some space, then run 'pressenter apply' to go on where it stopped"
	}
	writeAnswer(w, p.status, p.Problem)
}

// enroll enrols the host, or answers what came of it the first time.
func (k *keeper) enroll(r *http.Request, req api.EnrollRequest) (api.Enrolled, error) {
	k.changing.Lock()
	defer k.changing.Unlock()
	k.mu.Lock()
	known := k.host
	k.mu.Unlock()
	if known != nil {
		if !known.is(req) {
			return api.Enrolled{}, refuse(http.StatusConflict, "conflict",
				fmt.Errorf("this host is %s %q of chain %q already", known.Enrollment.Role, known.Enrollment.Name, known.Enrollment.ChainID),
				"remove the host and create it again")
		}
		h, err := k.Folder.adapt(known, req)
		if err != nil {
			return api.Enrolled{}, fmt.Errorf("enrol %q again: %w", req.Name, err)
		}
		k.mu.Lock()
		k.host = h
		k.mu.Unlock()
		k.poke()
		return h.Enrolled, nil
	}
	h, err := k.Folder.enroll(r.Context(), req)
	if err != nil {
		return api.Enrolled{}, fmt.Errorf("enrol %q: %w", req.Name, err)
	}
	k.mu.Lock()
	k.host = h
	k.mu.Unlock()
	k.poke()
	return h.Enrolled, nil
}

// installGenesis writes the genesis once. Another one is refused: a chain has one genesis for ever.
func (k *keeper) installGenesis(w http.ResponseWriter, r *http.Request) {
	out, err := func() (struct{}, error) {
		b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, api.MaxRequest))
		if err != nil {
			return struct{}{}, refuse(http.StatusBadRequest, "invalid", fmt.Errorf("read genesis: %w", err), "")
		}
		k.changing.Lock()
		defer k.changing.Unlock()
		if k.host == nil {
			return struct{}{}, refuse(http.StatusConflict, "not-enrolled", errors.New("this host is not enrolled"), "")
		}
		if known := k.rosters.State().Effective; known != nil && !known.Chain.GenesisSHA256.IsZero() && known.Chain.GenesisSHA256 != sha256.Sum256(b) {
			return struct{}{}, refuse(http.StatusConflict, "conflict", errors.New("this is not the genesis that the roster names"), "")
		}
		return struct{}{}, k.Folder.asNode(func() error { return writeGenesis(k.Folder.genesis(), b) })
	}()
	if err != nil {
		writeProblem(w, err)
		return
	}
	k.poke()
	writeAnswer(w, http.StatusOK, out)
}

// writeGenesis writes a genesis where there is none.
func writeGenesis(path string, b []byte) error {
	old, err := atomicfile.Read(path, api.MaxRequest)
	if err == nil && !bytes.Equal(old, b) {
		return refuse(http.StatusConflict, "conflict", errors.New("this host has another genesis already"), "")
	}
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return atomicfile.Write(path, b, 0o600)
}

// publish takes roster generations: durable first, then obeyed.
func (k *keeper) publish(_ *http.Request, req api.PublishRequest) (api.RosterStatus, error) {
	envs, err := decodeAll(req.Envelopes)
	if err != nil {
		return api.RosterStatus{}, refuse(http.StatusBadRequest, "invalid", err, "")
	}
	take := k.rosters.Publish
	if req.Evidence {
		take = k.rosters.Learn
	}
	if len(envs) > 0 {
		if err := take(envs); err != nil {
			return api.RosterStatus{}, publishProblem(err)
		}
	}
	if req.Newest {
		k.mu.Lock()
		k.learned = true
		k.mu.Unlock()
	}
	k.poke()
	return k.rosterStatus(), nil
}

func publishProblem(err error) error {
	p := &problem{status: http.StatusUnprocessableEntity, Problem: api.Problem{Error: err.Error(), Code: "invalid"}}
	var conflict *roster.Conflict
	var missing *roster.MissingParents
	switch {
	case errors.As(err, &conflict):
		p.status, p.Code = http.StatusConflict, "conflict"
		p.Hint = "run 'pressenter plan' again: it first adopts the newest roster"
	case errors.As(err, &missing):
		p.status, p.Code = http.StatusConflict, "missing-parents"
		for _, h := range missing.Hashes {
			p.Missing = append(p.Missing, h.String())
		}
	}
	return p
}

// setIntent records what a person wants, durably, before anything is done about it.
func (k *keeper) setIntent(_ *http.Request, i api.Intent) (api.Intent, error) {
	k.changing.Lock()
	defer k.changing.Unlock()
	i.Since = time.Now().UTC()
	if err := writeJSON(k.Folder.intent(), i); err != nil {
		if !i.Stopped {
			return api.Intent{}, err
		}
		// A full disk is no reason to go on. What cannot be written down holds as long as this agent runs.
		k.mu.Lock()
		k.unwritten = &i
		k.mu.Unlock()
		k.poke()
		return api.Intent{}, fmt.Errorf("the node is being stopped, but that cannot be written down and is forgotten when the agent restarts: %w", err)
	}
	k.mu.Lock()
	k.unwritten, k.applied, k.behind = nil, "", "" // until the next turn nothing follows what a person wants now
	k.mu.Unlock()
	if !i.Stopped && !i.Held {
		if err := k.runner.Allow(); err != nil {
			return api.Intent{}, err
		}
	}
	k.Logger.Info("intent recorded", "stopped", i.Stopped, "held", i.Held, "by", i.By)
	k.poke()
	return i, nil
}

// serveLock holds the deployment's lock for as long as the connection lasts: a killed client leaves none behind.
func (k *keeper) serveLock(w http.ResponseWriter, r *http.Request) {
	var req api.LockHolder
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 4096)) // to its end: only then is a hang-up noticed
	if err == nil {
		err = decode(b, &req)
	}
	if err != nil {
		writeProblem(w, unread(err))
		return
	}
	req.Since = time.Now().UTC()
	k.mu.Lock()
	if other := k.lock; other != nil {
		k.mu.Unlock()
		writeProblem(w, &problem{status: http.StatusLocked, Problem: api.Problem{
			Code: "locked", Lock: other,
			Error: fmt.Sprintf("locked by %s since %s", other.Holder, other.Since.Format(time.RFC3339)),
		}})
		return
	}
	k.lock = &req
	k.mu.Unlock()
	defer func() {
		k.mu.Lock()
		k.lock = nil
		k.mu.Unlock()
	}()
	w.WriteHeader(http.StatusOK)
	if err := http.NewResponseController(w).Flush(); err != nil {
		return
	}
	<-r.Context().Done()
}

func encodeAll(envs []roster.Envelope) [][]byte {
	out := make([][]byte, len(envs))
	for i, e := range envs {
		out[i] = roster.EncodeEnvelope(e)
	}
	return out
}

func decodeAll(bs [][]byte) ([]roster.Envelope, error) {
	out := make([]roster.Envelope, len(bs))
	for i, b := range bs {
		e, err := roster.DecodeEnvelope(b)
		if err != nil {
			return nil, err
		}
		out[i] = e
	}
	return out, nil
}

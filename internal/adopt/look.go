package adopt

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pressenter/pressenter/internal/comet"
	"github.com/pressenter/pressenter/internal/health"
	"github.com/pressenter/pressenter/internal/node"
	"github.com/pressenter/pressenter/internal/signing"
)

var (
	//go:embed units.sh
	unitsScript string
	//go:embed files.sh
	filesScript string
	//go:embed ask.sh
	askScript string
)

// NotOne says that it is not clear which unit is meant.
type NotOne struct {
	Units []string
	// Elsewhere are control groups in which something like a daemon runs.
	Elsewhere []string
}

// Error names what there is.
func (e *NotOne) Error() string {
	switch {
	case len(e.Units) > 1:
		return "more than one service there runs a chain's daemon, or would: " + strings.Join(e.Units, ", ")
	case len(e.Elsewhere) > 0:
		return "no service of the system there runs a chain's daemon; something like one runs in " + strings.Join(e.Elsewhere, ", ")
	}
	return "no service of systemd there runs a chain's daemon, or would"
}

// Hint says what to do about it.
func (e *NotOne) Hint() string {
	if len(e.Units) == 0 && len(e.Elsewhere) > 0 {
		return "containers, users' own services and programs in a shell are not read; only services of the system are"
	}
	return "name it: --unit NAME.service"
}

// Look reads a server. name is the unit to look at; empty: the one that there is.
func Look(ctx context.Context, sh Shell, name string) (*Found, error) {
	var args []string
	if name != "" {
		if !UnitName.MatchString(name) {
			return nil, fmt.Errorf("%q is not the name of a service: it ends in .service", name)
		}
		args = []string{name}
	}
	out, err := sh.Run(ctx, unitsScript, maxTold, args...)
	if err != nil {
		return nil, fmt.Errorf("look at the server's units: %w", err)
	}
	t, err := parseUnits(out)
	if err != nil {
		return nil, err
	}
	u, others, err := t.one(name)
	if err != nil {
		return nil, err
	}
	f := t.found(u)
	if f.Home.Path == "" {
		f.others(ctx, sh, others)
		return f, nil
	}
	if err := f.readHome(ctx, sh); err != nil {
		return nil, err
	}
	f.judgeHome()
	f.others(ctx, sh, others)
	f.ask(ctx, rpc(sh, f.Node.RPC))
	f.Role = f.role()
	return f, nil
}

// one is the unit that is looked at, by its name if it has to be told, and those that are there beside it.
func (t told) one(name string) (it unit, others []unit, err error) {
	there := slices.DeleteFunc(slices.Clone(t.units), func(u unit) bool { return u.said["LoadState"] == "not-found" })
	if i := slices.IndexFunc(there, func(u unit) bool { return u.name == name }); i >= 0 {
		return there[i], slices.Delete(slices.Clone(there), i, i+1), nil
	}
	if len(there) != 1 || name != "" {
		e := &NotOne{Elsewhere: t.running}
		for _, u := range there {
			e.Units = append(e.Units, u.name)
		}
		return unit{}, nil, e
	}
	return there[0], nil, nil
}

// others tells of units that run a daemon, too, or would: the same key may be theirs. Whose home and key are others is in
// nobody's way.
func (f *Found) others(ctx context.Context, sh Shell, all []unit) {
	for _, u := range all {
		other := (told{}).found(u)
		if other.Home.Path != "" && f.Key.Address != "" && other.readHome(ctx, sh) == nil &&
			other.Home.Real != "" && other.Home.Real != f.Home.Real && other.Key.Address != "" && other.Key.Address != f.Key.Address {
			f.note("other-unit", health.Warning, "%s runs another daemon there, with another key.", u.name)
			continue
		}
		f.note("other-unit", health.Critical, "%s runs a daemon there, too, or would: that it has neither the same home nor the same key could not be seen.", u.name)
	}
}

// found is what units and processes say.
func (t told) found(u unit) *Found {
	f := &Found{Role: RoleUnknown, Unit: Unit{
		Name: u.name, State: clean(u.said["ActiveState"]), Enabled: clean(u.said["UnitFileState"]), File: clean(u.said["FragmentPath"]),
		DropIns: words(u.said["DropInPaths"]), User: clean(cmp.Or(u.said["User"], "root")), Restart: clean(u.said["Restart"]), KillMode: clean(u.said["KillMode"]),
		Since: since(u.said["ExecMainStartTimestamp"]), uid: cmp.Or(u.uid, "0"), gid: cmp.Or(u.gid, "0"),
	}}
	if u.uid == "" && u.said["User"] != "" {
		f.note("unit-user", health.Warning, "The user %q of the unit is not known there.", f.Unit.User)
	}
	for _, key := range []string{"WantedBy", "RequiredBy", "TriggeredBy", "BoundBy", "UpheldBy"} {
		for _, s := range words(u.said[key]) {
			if s != "multi-user.target" {
				f.Unit.Starters = append(f.Unit.Starters, s)
			}
		}
	}
	main, argv := u.daemon(f)
	f.Home.Path = u.home(f, main, argv)
	f.unitNotes(u, main, argv)
	f.othersNotes(t, u)
	return f
}

// daemon finds the process that is the daemon, and how it was started.
func (u unit) daemon(f *Found) (*process, []string) {
	var daemons []*process
	for i := range u.processes {
		p := &u.processes[i]
		if len(p.args) > 0 && path.Base(p.args[0]) == "cosmovisor" {
			f.Program.Cosmovisor = true
		} else if slices.Contains(p.args, "start") || slices.Contains(p.args, "node") {
			daemons = append(daemons, p)
		}
	}
	f.Program.Others = len(u.processes)
	if len(daemons) > 1 {
		f.note("daemons", health.Critical, "The unit has %d processes that look like a daemon: it is not clear which one signs.", len(daemons))
	}
	var argv []string
	if len(u.exec) == 1 {
		argv = u.exec[0]
	}
	if len(daemons) == 0 {
		if len(argv) > 0 {
			f.Program.Path, f.Program.Cosmovisor = clean(argv[0]), path.Base(argv[0]) == "cosmovisor"
		}
		return nil, argv
	}
	p := daemons[0]
	f.opened = p.open
	f.Program.Path, f.Program.SHA256, f.Program.Pid, f.Program.Since = p.exe, p.sum, p.pid, p.since
	f.Program.Others--
	f.Unit.uid, f.Unit.gid = cmp.Or(p.uid, f.Unit.uid), cmp.Or(p.gid, f.Unit.gid)
	return p, p.args
}

// home is where the daemon's files are: what it was told, by a flag or by a variable, unless the databases that it has
// open say otherwise.
func (u unit) home(f *Found, main *process, argv []string) string {
	places := u.places
	if main != nil {
		places = main.places
	}
	told := absolute(flagOf(argv, "home"))
	if told == "" && f.Program.Cosmovisor {
		told = absolute(places["DAEMON_HOME"])
	}
	if told == "" && len(argv) > 0 && !f.Program.Cosmovisor {
		name := strings.ToUpper(strings.ReplaceAll(path.Base(argv[0]), "-", "_")) + "_HOME"
		told = absolute(places[name])
	}
	if main == nil || len(main.open) == 0 {
		if told == "" {
			f.note("home", health.Critical, "It is not clear where the daemon's home is: neither its command nor its variables say so. Start it and look again.")
		}
		return told
	}
	return cmp.Or(told, main.open[0])
}

// judgeHome tells where what the daemon was told of its home and what it does are two things: another home may have its
// key's newer state.
func (f *Found) judgeHome() {
	if f.Program.Pid != 0 && !slices.Contains(f.opened, f.Home.Real) {
		f.note("home", health.Critical, "It was told that its home is %s, and has databases open in %s: it is not clear which one it is.",
			f.Home.Path, cmp.Or(clean(strings.Join(f.opened, ", ")), "none that was seen"))
	}
}

// flagOf is the value of a flag, --name=value or --name value. Of several the last counts, as it does for the daemon.
func flagOf(argv []string, name string) (value string) {
	for i, a := range argv {
		if v, ok := strings.CutPrefix(a, "--"+name+"="); ok {
			value = v
		} else if a == "--"+name && i+1 < len(argv) {
			value = argv[i+1]
		}
	}
	return value
}

// wanted is a file to read.
type wanted struct{ kind, path string }

// answer is what came of it.
type answer struct{ text, why string }

// read reads files as the daemon's user.
func (f *Found) read(ctx context.Context, sh Shell, files ...wanted) ([]answer, error) {
	args := []string{f.Unit.uid, f.Unit.gid}
	for _, w := range files {
		args = append(args, w.kind, w.path)
	}
	out, err := sh.Run(ctx, filesScript, maxTold, args...)
	if err != nil {
		return nil, fmt.Errorf("read the daemon's home: %w", err)
	}
	return parseAnswers(out, len(files))
}

// parseAnswers reads what files.sh tells of n files.
func parseAnswers(out []byte, n int) ([]answer, error) {
	all, err := lines(out)
	if err != nil {
		return nil, err
	}
	answers := make([]answer, n)
	for i := range answers {
		answers[i].why = "untold"
	}
	for _, l := range all {
		key, none := strings.CutSuffix(l.key, "-")
		i, err := strconv.Atoi(key)
		switch {
		case err != nil || i < 0 || i >= n:
			return nil, errors.New("read what the server tells: it answers what was not asked")
		case none:
			answers[i] = answer{why: clean(l.value)}
		default:
			answers[i] = answer{text: l.value}
		}
	}
	return answers, nil
}

// readHome reads what the home's files say.
func (f *Found) readHome(ctx context.Context, sh Shell) error {
	at := func(s string) string { return path.Join(f.Home.Path, s) }
	got, err := f.read(ctx, sh, wanted{"text", at("config/config.toml")}, wanted{"text", at("config/app.toml")},
		wanted{"time", at("config/config.toml")}, wanted{"time", at("config/app.toml")}, wanted{"mount", f.Home.Path}, wanted{"real", f.Home.Path})
	if err != nil {
		return err
	}
	comet, app := f.settings("config.toml", got[0]), f.settings("app.toml", got[1])
	f.Home.Mount = absolute(got[4].text)
	f.Home.Real = absolute(strings.TrimSpace(got[5].text))
	if real := f.Home.Real; real != "" && real != path.Clean(f.Home.Path) {
		f.note("home-link", health.Info, "The home is a link to %s.", real)
	}
	for i, name := range []string{"config.toml", "app.toml"} {
		changed := time.Unix(number(got[2+i].text), 0)
		if since := f.Program.Since; !since.IsZero() && got[2+i].text != "" && changed.After(since.Add(time.Minute)) {
			f.note("changed-since", health.Warning, "%s was changed after the daemon started: what runs may differ from what it says.", name)
		}
	}
	f.configured(comet, app)
	if err := node.Takes([]byte(got[0].text), []byte(got[1].text)); err != nil {
		f.unfit = clean(err.Error())
	}
	return f.readKeys(ctx, sh, comet)
}

// settings are those of a file of the home.
func (f *Found) settings(name string, a answer) map[string]string {
	if a.why != "" {
		f.note("unread", health.Warning, "%s was not read: %s.", name, a.why)
		return map[string]string{}
	}
	v, err := node.Values([]byte(a.text))
	if err != nil {
		f.note("unread", health.Warning, "%s is no TOML that can be understood.", name) // the cause could quote it
		return map[string]string{}
	}
	for key, value := range v { // one line of Tendermint wrote - for _
		v[strings.ReplaceAll(key, "-", "_")] = value
	}
	return v
}

// configured is what the settings say of the node.
func (f *Found) configured(comet, app map[string]string) {
	n := &f.Node
	n.Moniker, n.P2P, n.RPC = clean(comet["moniker"]), clean(comet["p2p.laddr"]), clean(comet["rpc.laddr"])
	n.PEX = comet["p2p.pex"] != "false"
	count := func(s string) int {
		return len(strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' }))
	}
	n.Dials, n.MinGasPrice = dials(comet["p2p.persistent_peers"]), gasPrices(app["minimum_gas_prices"])
	n.Peers, n.Private = count(comet["p2p.persistent_peers"]), count(comet["p2p.private_peer_ids"])
	n.Services = map[string]string{}
	for name, s := range map[string]struct{ on, at string }{
		"api": {app["api.enable"], app["api.address"]}, "grpc": {app["grpc.enable"], app["grpc.address"]},
		"json-rpc":   {app["json_rpc.enable"], app["json_rpc.address"]},
		"prometheus": {comet["instrumentation.prometheus"], comet["instrumentation.prometheus_listen_addr"]},
		"pprof":      {strconv.FormatBool(comet["rpc.pprof_laddr"] != ""), comet["rpc.pprof_laddr"]},
	} {
		if s.on == "true" {
			n.Services[name] = clean(s.at)
		}
	}
	f.Key.Remote = clean(cmp.Or(comet["priv_validator_laddr"], comet["priv_validator.laddr"]))
}

// readKeys reads public halves of keys, sign state and genesis, at the places that the settings say.
func (f *Found) readKeys(ctx context.Context, sh Shell, comet map[string]string) error {
	at := func(key, otherwise string) string {
		p := cmp.Or(comet[key], comet[strings.Replace(key, "priv_validator_", "priv_validator.", 1)], otherwise)
		if !path.IsAbs(p) {
			p = path.Join(f.Home.Path, p)
		}
		return cmp.Or(absolute(p), path.Join(f.Home.Path, otherwise))
	}
	key, state := at("priv_validator_key_file", "config/priv_validator_key.json"), at("priv_validator_state_file", "data/priv_validator_state.json")
	genesis := at("genesis_file", "config/genesis.json")
	got, err := f.read(ctx, sh, wanted{"pub", key}, wanted{"state", state}, wanted{"node", at("node_key_file", "config/node_key.json")},
		wanted{"chain", genesis}, wanted{"apart", cmp.Or(f.Home.Real, f.Home.Path)})
	if err != nil {
		return err
	}
	f.Key.File, f.Key.StateFile, f.Home.Genesis = clean(key), clean(state), clean(genesis)
	f.consensusKey(got[0])
	f.signState(got[1])
	if id := strings.TrimSpace(got[2].text); nodeIDs.MatchString(id) {
		f.Node.NodeID = id
	} else {
		f.note("unread", health.Warning, "The node key was not read: %s.", cmp.Or(got[2].why, "it is not one"))
	}
	f.Node.ChainID = clean(got[3].text)
	for l := range strings.Lines(got[4].text) {
		if len(f.apart) < maxUnits {
			f.apart = append(f.apart, clean(l))
		}
	}
	return nil
}

func (f *Found) consensusKey(a answer) {
	kind, value, _ := strings.Cut(strings.TrimSpace(a.text), " ")
	if a.why != "" || kind == "" {
		if f.Key.Remote == "" {
			f.note("unread", health.Warning, "The consensus key's public half was not read: %s.", cmp.Or(a.why, "unread"))
		}
		return
	}
	b, err := base64.StdEncoding.DecodeString(value)
	f.Key.Type = clean(kind)
	if err != nil || len(b) > 128 {
		f.note("unread", health.Warning, "The consensus key's public half is none.")
		return
	}
	f.Key.PublicKey = b
	if f.Key.Type == "tendermint/PubKeyEd25519" && len(b) == 32 {
		f.Key.Address = signing.Address(b)
	}
}

func (f *Found) signState(a answer) {
	if a.why == "missing" {
		return // it never signed, or somebody else does
	}
	n := strings.Fields(a.text)
	if len(n) != 3 {
		f.note("sign-state", health.Critical, "The sign state was not read, so it is not known how far the key has signed.")
		return
	}
	f.Key.Mark = Mark{Known: true, Height: number(n[0]), Round: number(n[1]), Step: number(n[2])}
}

// askLimit bounds the node's answers.
const askLimit = 30 * time.Second

// rpc is the node's RPC, asked from its own server; nil where there is no address to ask at.
func rpc(sh Shell, address string) *comet.Client {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "tcp" || u.Port() == "" {
		return nil
	}
	host := u.Hostname()
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() || host == "localhost" {
		host = "127.0.0.1"
	}
	if net.ParseIP(host) == nil {
		return nil
	}
	return &comet.Client{URL: "http://" + net.JoinHostPort(host, u.Port()), HTTP: &http.Client{
		Transport: through{sh, host, u.Port()}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// through asks on the server.
type through struct {
	sh         Shell
	host, port string
}

// RoundTrip implements http.RoundTripper.
func (t through) RoundTrip(r *http.Request) (*http.Response, error) {
	out, err := t.sh.Run(r.Context(), askScript, 4<<20, t.host, t.port, r.URL.RequestURI())
	if err != nil {
		return nil, errors.New("its RPC does not answer")
	}
	return http.ReadResponse(bufio.NewReader(bytes.NewReader(out)), r)
}

// ask has the running node say what it is, and looks for its signature in a block.
func (f *Found) ask(ctx context.Context, c *comet.Client) {
	if f.Program.Pid == 0 {
		return
	}
	if c == nil {
		f.note("rpc", health.Warning, "Its RPC address %q cannot be asked: what follows is by its files alone.", f.Node.RPC)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	st, err := c.Status(ctx)
	if err != nil {
		f.note("rpc", health.Warning, "The node was not asked: %s. What follows is by its files alone.", clean(err.Error()))
		return
	}
	f.answered(st)
	f.Node.BlockTime = pace(ctx, c, st)
	if f.Key.Power == 0 || f.Key.Address == "" {
		return
	}
	for h := st.Height - 1; h > max(0, st.Height-4); h-- { // one may have been missed
		if b, err := c.Commit(ctx, h); err == nil && comet.Signed(b.Commit, f.Key.Address) {
			f.Key.Signed = h
			return
		}
	}
}

// answered is what the running node says; it is what counts, and where files say otherwise that is told.
func (f *Found) answered(st comet.Status) {
	n := &f.Node
	differs := func(what, file, says string) {
		if file != "" && file != says {
			f.note("differs", health.Critical, "The %s is %s by the files, and the node that answers says %s: another node may answer, or the files were changed.", what, file, says)
		}
	}
	chain, id := clean(st.Network), clean(st.NodeID)
	differs("chain id", n.ChainID, chain)
	differs("node id", n.NodeID, id)
	n.ChainID, n.Answers, n.CatchingUp, n.Height, n.Comet = chain, true, st.CatchingUp, st.Height, clean(st.Version)
	n.NodeID = cmp.Or(n.NodeID, id)
	if f.Key.Remote == "" {
		differs("consensus address", f.Key.Address, clean(st.Address))
	} else { // the file's key is not the one that signs
		f.Key.Address, f.Key.Type, f.Key.PublicKey = clean(st.Address), clean(st.PubKeyType), st.PubKey[:min(len(st.PubKey), 128)]
		f.Key.Mark = Mark{}
	}
	f.Key.Power = st.VotingPower
}

// note adds a finding about the daemon.
func (f *Found) note(code string, s health.Severity, format string, args ...any) {
	f.notes = append(f.notes, health.Finding{Code: code, Severity: s, Subject: f.Unit.Name, Message: fmt.Sprintf(format, args...)})
}

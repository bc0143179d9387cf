package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The tables below are the format: they drive reading, what is said about other keys, and the schema.

const maxSentries = 50

const label = `^[a-z]([-a-z0-9]*[a-z0-9])?$`

// nameRule is for names that become parts of host names, folders and sockets, whose lengths are limited.
var nameRule = pattern(label, 40, "a name: at most 40 lower-case letters, digits and inner hyphens, a letter first")

var deploymentKeys = []key[Deployment]{
	field("apiVersion", "Version of this format.", one(APIVersion, otherVersion),
		func(d *Deployment) *string { return &d.APIVersion }).must(),
	field("kind", "What the file describes.", one(Kind, expected("kind", Kind)),
		func(d *Deployment) *string { return &d.Kind }).must(),
	field("name", "Name of the deployment.", nameRule,
		func(d *Deployment) *string { return &d.Name }).must(),
	field("chain", "The network to validate: practice (built in), or one run by another daemon: a private practice network, or one that exists.", chainRule(),
		func(d *Deployment) *Chain { return &d.Chain }).must(),
	field("provider", "Who supplies the hosts: local is this computer, ssh are servers that are there already; the others are clouds.", providerRule(otherProvider, providers...),
		func(d *Deployment) *string { return &d.Provider }).must(),
	field("validator", "The node that signs.", block(Practice("").Validator, validatorKeys),
		func(d *Deployment) *Validator { return &d.Validator }),
	field("sentries", "The nodes between the world and the validator; by default s1 and s2.", sentriesRule(),
		func(d *Deployment) *[]Sentry { return &d.Sentries }),
	field("mesh", "The encrypted network between our own hosts.", block(Practice("").Mesh, meshKeys),
		func(d *Deployment) *Mesh { return &d.Mesh }),
	field("devices", "Stock WireGuard devices in the mesh, such as a laptop; 'pressenter mesh export' writes their configuration.",
		named(many(block(Device{}, deviceKeys), 0, 50, ""), "device"), func(d *Deployment) *[]Device { return &d.Devices }),
	field("upgrades", "How upgrades of the chain are taken.", block(Practice("").Upgrades, upgradesKeys),
		func(d *Deployment) *Upgrades { return &d.Upgrades }),
	field("practice", "The rest of a practice network.", block(Practice("").Practice, practiceKeys),
		func(d *Deployment) *PracticeNetwork { return &d.Practice }),
	field("admin", "From where bought machines are administered.", block(Admin{}, adminKeys), func(d *Deployment) *Admin { return &d.Admin }),
	later[Deployment]("signer", "the validator signs with its own key"),
	later[Deployment]("notify", "see 'pressenter status'"),
	later[Deployment]("sidecars", "each host runs its node only"),
	later[Deployment]("region", "each host has its own"),
	later[Deployment]("size", "each host has its own"),
}

var chainKeys = []key[Chain]{
	field("name", "Name of the network.", except(nameRule, ChainPractice),
		func(c *Chain) *string { return &c.Name }).must(),
	field("chain_id", "Chain id, as in the genesis file.",
		pattern(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`, 50, "a chain id: at most 50 letters, digits, dots, hyphens and underscores"),
		func(c *Chain) *string { return &c.ChainID }).must(),
	field("daemon", "Name of the executable, without folder.",
		pattern(`^[A-Za-z0-9][A-Za-z0-9._-]*$`, 64, "the name of an executable, without folder"),
		func(c *Chain) *string { return &c.Daemon }).must(),
	field("binary", "Path of the executable on this computer; a relative one starts at the folder of this file.",
		pattern(`^[^\p{C}\p{Z}~$](([^\p{C}\p{Z}$]| )*[^\p{C}\p{Z}$/])?$`, 1024, "a path to an executable (~ and $NAME are not expanded)"),
		func(c *Chain) *string { return &c.Binary }).must(),
	field("bech32_prefix", "First part of the network's addresses, as cosmos in cosmos1abc.",
		pattern(`^[a-z][a-z0-9]*$`, 20, "an address prefix: at most 20 lower-case letters and digits, a letter first"),
		func(c *Chain) *string { return &c.Bech32Prefix }).must(),
	field("denom", "Smallest unit of the token that is staked.",
		pattern(`^[A-Za-z][A-Za-z0-9/:._-]{2,127}$`, 128, "a denom: 3 to 128 letters, digits and /:._-, a letter first"),
		func(c *Chain) *string { return &c.Denom }).must(),
	field("exists", "Whether the network is there already: nothing of it is made, and genesis and peers are those of the node that 'pressenter adopt' takes over.",
		yes(), func(c *Chain) *bool { return &c.Exists }).defaultsTo(false),
}

var validatorKeys = []key[Validator]{
	field("count", "How many nodes sign.", whole(1, 1, otherCount), func(v *Validator) *int { return &v.Count }).
		defaultsTo(Practice("").Validator.Count),
	field("provider", "Who supplies its host; the deployment's provider where nothing is said.",
		providerRule(otherProvider, providers...), func(v *Validator) *string { return &v.Provider }),
	addressKey(func(v *Validator) *string { return &v.Address }),
	regionKey(func(v *Validator) *string { return &v.Region }),
	sizeKey(func(v *Validator) *string { return &v.Size }),
	volumeKey(func(v *Validator) *int { return &v.VolumeGB }),
	deviceKey(func(v *Validator) *string { return &v.VolumeDevice }),
	later[Validator]("sidecars", "each host runs its node only"),
}

var sentryKeys = []key[Sentry]{
	field("name", "Name of the sentry and of its host.", except(nameRule, ValidatorHost, "world", "operator"),
		func(s *Sentry) *string { return &s.Name }).must(),
	field("provider", "Who supplies its host, the deployment's provider where nothing is said; invite is a host that enrols itself with a code of 'pressenter invite'.",
		providerRule(otherSentryProvider, append(slices.Clone(providers), ProviderInvite)...), func(s *Sentry) *string { return &s.Provider }),
	addressKey(func(s *Sentry) *string { return &s.Address }),
	field("public", "Where the world reaches a host with provider ssh, a name or an IP address, if not at the host of its address.",
		pattern(`^([a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?|[0-9a-fA-F:]*:[0-9a-fA-F:.]+)$`, 253, "a name or an IP address, without port"),
		func(s *Sentry) *string { return &s.Public }),
	field("relay", "Whether it relays the mesh's packets, which it cannot read, for members whose UDP is blocked; it opens one more TCP port.",
		yes(), func(s *Sentry) *bool { return &s.Relay }).defaultsTo(false),
	field("private_peers", "Nodes of other operators, id@host:port, that it keeps a link to and tells nobody about.",
		distinct(many(peerRule(), 0, 16, "")),
		func(s *Sentry) *[]string { return &s.PrivatePeers }),
	regionKey(func(s *Sentry) *string { return &s.Region }),
	sizeKey(func(s *Sentry) *string { return &s.Size }),
	volumeKey(func(s *Sentry) *int { return &s.VolumeGB }),
	deviceKey(func(s *Sentry) *string { return &s.VolumeDevice }),
	later[Sentry]("sidecars", "each host runs its node only"),
}

var meshKeys = []key[Mesh]{
	field("driver", "What carries the packets: wireguard, in the kernel where it can be had, else in user space; vpncloud hides nobody.",
		providerRule(otherDriver, MeshWireGuard, MeshVpnCloud), func(m *Mesh) *string { return &m.Driver }).defaultsTo(Practice("").Mesh.Driver),
}

var deviceKeys = []key[Device]{
	field("name", "Name of the device.", except(nameRule, ValidatorHost, "world", "operator"),
		func(d *Device) *string { return &d.Name }).must(),
	field("key", "Its public WireGuard key, 44 characters of base64; the private one stays with it.",
		pattern(`^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$`, 44, "a public WireGuard key as wg prints it: 44 characters of base64"),
		func(d *Device) *string { return &d.Key }).must(),
}

var upgradesKeys = []key[Upgrades]{
	field("policy", "Who agrees to an upgrade: ask is a person, each time.",
		one(PolicyAsk, func(got string) (string, string) {
			return fmt.Sprintf("policy %s: policies other than %s are not implemented in this version", quote(got), PolicyAsk), "use policy: " + PolicyAsk
		}), func(u *Upgrades) *string { return &u.Policy }).defaultsTo(Practice("").Upgrades.Policy),
}

var practiceKeys = []key[PracticeNetwork]{
	field("validators", "How many validators the network has besides ours; 3 go on without it.",
		whole(3, 7, func(got string) (string, string) {
			return got + " is not between 3 and 7: the network must go on without our validator, on one computer", ""
		}), func(p *PracticeNetwork) *int { return &p.Validators }).defaultsTo(Practice("").Practice.Validators),
	field("block_time", "Time between blocks, from 1s to 30s.", duration(time.Second, 30*time.Second),
		func(p *PracticeNetwork) *time.Duration { return &p.BlockTime }).defaultsTo(Practice("").Practice.BlockTime.String()),
}

// chainRule is the name of a network that the program knows, or all that it must know of another.
func chainRule() rule[Chain] {
	known := one(ChainPractice, func(got string) (string, string) {
		if like, ok := nearest(got, []string{ChainPractice}); ok {
			return "unknown chain " + quote(got), fmt.Sprintf("did you mean %q?", like)
		}
		return fmt.Sprintf("chain %s: networks other than practice are not implemented in this version; use chain: practice", quote(got)), ""
	})
	private := block(Chain{}, chainKeys)
	return rule[Chain]{schema: schema{"oneOf": []schema{known.schema, private.schema}}, read: func(w *walk, path string, n node) Chain {
		switch n.kind {
		case mapping:
			return private.read(w, path, n)
		case text:
			return Chain{Name: known.read(w, path, n)}
		}
		w.expected(path, n, "a name or a mapping", "")
		return Chain{}
	}}
}

// sentriesRule is a list of sentries, each of which can also be told apart by its name.
func sentriesRule() rule[[]Sentry] {
	r := named(many(sentryRule(), 1, maxSentries,
		"must have at least one: without a sentry the validator would face the world itself"), "sentry")
	read := r.read
	r.read = func(w *walk, path string, n node) []Sentry {
		ss := read(w, path, n)
		if len(ss) > 0 && !slices.ContainsFunc(ss, func(s Sentry) bool { return !s.Invited() }) {
			w.report(n.at, path, "all are invited: until one has joined the validator would be cut off", "add one that is not")
		}
		return ss
	}
	return r
}

// sentryRule is one sentry.
func sentryRule() rule[Sentry] {
	r := block(Sentry{}, sentryKeys)
	read := r.read
	r.read = func(w *walk, path string, n node) Sentry {
		s := read(w, path, n)
		for _, p := range n.pairs {
			if p.key == "relay" && s.Relay && s.Invited() {
				w.report(p.at, join(path, p.key), "an invited host says itself whether it relays", "remove it, and give 'pressenter join' --mesh-relay there")
			}
		}
		return s
	}
	return r
}

// providerRule is one of the providers that this version has.
func providerRule(other func(got string) (message, suggestion string), known ...string) rule[string] {
	return rule[string]{schema: schema{"enum": known}, read: func(w *walk, path string, n node) string {
		if n.kind != text {
			w.expected(path, n, text, "")
		} else if !slices.Contains(known, n.text) {
			message, suggestion := other(n.text)
			w.report(n.at, path, message, suggestion)
		}
		return n.text
	}}
}

// named is a list of things of which no two have the same name.
func named[T any](r rule[[]T], what string) rule[[]T] {
	read := r.read
	r.read = func(w *walk, path string, n node) []T {
		first := map[string]position{}
		for i, item := range n.items {
			for _, p := range item.pairs {
				if p.key != "name" || p.value.kind != text {
					continue
				}
				if before, twice := first[p.value.text]; twice {
					at := fmt.Sprintf("%s[%d].name", path, i)
					w.report(p.value.at, at, fmt.Sprintf("%s is also the name of the %s on line %d", quote(p.value.text), what, before.line), "")
					continue
				}
				first[p.value.text] = p.value.at
			}
		}
		return read(w, path, n)
	}
	return r
}

// peerRule is a node of somebody else.
func peerRule() rule[string] {
	return pattern(`^[0-9a-f]{40}@([a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:]+\]):([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$`, 300,
		"id@host:port, the id 40 lower-case hex digits")
}

func expected(key, value string) func(string) (string, string) {
	return func(got string) (string, string) {
		return fmt.Sprintf("expected %q, got %s", value, quote(got)), fmt.Sprintf("write %s: %s", key, value)
	}
}

var versioned = regexp.MustCompile(`^pressenter/v([1-9][0-9]{0,5})([a-z][a-z0-9]*)?$`)

func otherVersion(got string) (string, string) {
	if m := versioned.FindStringSubmatch(got); m != nil {
		if v, _ := strconv.Atoi(m[1]); v > 1 {
			return quote(got) + " is newer than this program", "use a newer program, or apiVersion: " + APIVersion
		}
	}
	return expected("apiVersion", APIVersion)(got)
}

// providers are those of this version, laterProviders are designed and not implemented.
var (
	providers      = append([]string{ProviderLocal, ProviderSSH}, Clouds...)
	laterProviders = []string{"aws", "gcp"}
)

func otherProvider(got string) (string, string) {
	use := "use provider: " + strings.Join(providers[:len(providers)-1], ", ") + " or " + providers[len(providers)-1]
	if slices.Contains(laterProviders, got) {
		return fmt.Sprintf("provider %q is not implemented in this version", got), use
	}
	if got == ProviderInvite {
		return fmt.Sprintf("provider %q is of single sentries", got), use
	}
	if like, ok := nearest(got, slices.Concat(providers, laterProviders)); ok {
		use = fmt.Sprintf("did you mean %q?", like)
		if slices.Contains(laterProviders, like) {
			use += " This version does not implement it"
		}
	}
	return "unknown provider " + quote(got), use
}

// otherSentryProvider: a sentry can also be invited.
func otherSentryProvider(got string) (string, string) {
	if _, ok := nearest(got, []string{ProviderInvite}); ok {
		return "unknown provider " + quote(got), fmt.Sprintf("did you mean %q?", ProviderInvite)
	}
	return otherProvider(got)
}

func otherCount(got string) (string, string) {
	switch got {
	case "0":
		return "0 (the sentries ask the cosigners) is not implemented in this version", "use count: 1"
	case "2":
		return "2 (two nodes behind cosigners) is not implemented in this version", "use count: 1"
	}
	return "expected 1, got " + got, "use count: 1"
}

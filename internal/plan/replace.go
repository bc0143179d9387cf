package plan

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/pressenter/pressenter/internal/api"
	"github.com/pressenter/pressenter/internal/config"
	"github.com/pressenter/pressenter/internal/deployment"
	"github.com/pressenter/pressenter/internal/roster"
)

// How a sentry is replaced.
type How int

// Ways of a replacement.
const (
	// Apply: one has begun, or there is nothing to replace yet; the plan of an apply is all that is left to do.
	Apply How = iota
	// InPlace: its machine stays, so it is removed and made anew there.
	InPlace
	// Beside: it gets another machine, which joins before the one that it has is given back.
	Beside
)

// Replace decides how the sentry of that name is replaced, where that may be.
func Replace(name string, c config.Deployment, own deployment.Inventory, have ObservedDeployment) (How, error) {
	i := slices.IndexFunc(c.Sentries, func(s config.Sentry) bool { return s.Name == name })
	if i < 0 || c.Sentries[i].Invited() {
		return Apply, irreplaceable(name, c)
	}
	was, known := own.Host(name)
	o, m := have.Hosts[name], c.Sentries[i].Machine
	switch {
	case replacing(own, name) && known && was.Exists() && goesElsewhere(c, m, was) && (o.Away == "" || toBeCleared(c, m, own)):
		return Apply, &Refusal{
			Why: fmt.Sprintf("%s is being replaced, by %s; the config says another machine now", name, supplied(was.Provider)),
			Next: fmt.Sprintf("run 'pressenter replace %s --cancel' if it is to stay where it was; or put the config back as it was, "+
				"apply, and then move it on", name),
		}
	case have.Fork:
		return Apply, &Refusal{Why: "the roster is forked", Next: "run 'pressenter apply', which heals it, then replace " + name}
	case !known || !was.Exists() || !o.Exists || have.Head == nil:
		return Apply, nil
	case replacing(own, name) && o.Away == "":
		return Apply, nil
	case goesElsewhere(c, m, was) || was.Bought():
		return Beside, nil
	case o.Away != "":
		return Apply, &Refusal{
			Why:  fmt.Sprintf("%s cannot be reached, and its server is not ours to buy anew: %s", name, o.Away),
			Next: fmt.Sprintf("give it another server: write its address in the config and run 'pressenter replace %s' again; or take %s out and apply", name, name),
		}
	}
	if _, is := have.Head.Member(name); !is { // whatever it says of itself
		return Apply, nil
	}
	return InPlace, nil
}

// irreplaceable says why there is no sentry of that name to replace.
func irreplaceable(name string, c config.Deployment) error {
	switch {
	case name == config.ValidatorHost:
		return &Refusal{
			Why: "the validator holds the whole key, and two machines with it must never be: it is not replaced",
			Next: "where its host is lost for ever, run 'pressenter apply --replace-lost', then 'pressenter key restore' and 'pressenter key arm'; " +
				"moving one that lives to another machine is not in this version",
		}
	case slices.ContainsFunc(c.Sentries, func(s config.Sentry) bool { return s.Name == name }):
		return &Refusal{
			Why:  fmt.Sprintf("%s enrolled itself: its host is somebody else's", name),
			Next: fmt.Sprintf("take it out of the config and apply, then put it back and run 'pressenter invite %s'", name),
		}
	}
	return &Refusal{Why: fmt.Sprintf("there is no sentry %q in the config", name), Next: "'pressenter status' shows the hosts"}
}

// replacing says whether the machine of a host was replaced and is not given back yet.
func replacing(own deployment.Inventory, name string) bool {
	return slices.ContainsFunc(own.Replaced, func(h deployment.Host) bool { return h.Name == name })
}

// toBeCleared says whether the config has a server for a host that was replaced and is to be cleared.
func toBeCleared(c config.Deployment, m config.Machine, own deployment.Inventory) bool {
	return slices.ContainsFunc(own.Replaced, func(was deployment.Host) bool { return !was.Bought() && !goesElsewhere(c, m, was) })
}

// Successor is the host that takes the place of the machine that a host of that name is.
func Successor(name string, c config.Deployment, own deployment.Inventory, head *roster.Roster) (next deployment.Host, identity roster.Key) {
	was, _ := own.Host(name)
	next = deployment.Host{
		Name: name, Role: was.Role, Number: was.Number + 1, Provider: was.Provider, Folder: was.Folder, Region: was.Region, Size: was.Size,
	}
	for taken(next.Machine(), c, own) {
		next.Number++
	}
	if m, is := head.Member(name); is && !slices.ContainsFunc(own.Replaced, func(h deployment.Host) bool { return h.Identity == m.Identity }) {
		identity = m.Identity
	}
	return next, identity
}

// fresh is the number of the first machine of a host that no inventory knows: after those that had its name and are not cleared yet.
func fresh(name string, c config.Deployment, own deployment.Inventory) int {
	h := deployment.Host{Name: name}
	for _, was := range own.Replaced {
		if was.Name == name {
			h.Number = max(h.Number, was.Number+1)
		}
	}
	for h.Number > 0 && taken(h.Machine(), c, own) {
		h.Number++
	}
	return h.Number
}

// TakenBack is the machine that is its host again if the replacement that has begun is taken back.
func TakenBack(name string, own deployment.Inventory, have ObservedDeployment) (deployment.Host, error) {
	if have.Head == nil {
		return deployment.Host{}, &Refusal{Why: "the roster has no single head", Next: "run 'pressenter apply' first"}
	}
	for _, h := range own.Replaced {
		if m, is := have.Head.Member(name); is && h.Name == name && h.Identity == m.Identity {
			return h, nil
		}
	}
	if replacing(own, name) {
		return deployment.Host{}, &Refusal{
			Why:  fmt.Sprintf("another machine is %s in the roster already, and the one that it was is out of it for ever", name),
			Next: "run 'pressenter apply', which finishes the replacement; then replace it again if need be",
		}
	}
	return deployment.Host{}, &Refusal{Why: fmt.Sprintf("no replacement of %s has begun", name), Next: "'pressenter plan' shows what is to be done"}
}

// TakeBack is what there is once a machine that was taken aside is its host again.
func (o *ObservedDeployment) TakeBack(back deployment.Host, own deployment.Inventory) {
	next := o.Hosts[back.Name]
	i := slices.IndexFunc(o.Replaced, func(r ObservedHost) bool { return r.Host.Machine() == back.Machine() })
	was := o.Replaced[i]
	was.Host.Identity = roster.Key{}
	o.Hosts[back.Name] = was
	o.Replaced = slices.Delete(slices.Clone(o.Replaced), i, i+1)
	if own.WasReplaced(next.Host) {
		o.Replaced = append(o.Replaced, next)
	}
}

// taken says whether a machine, or a sentry, is called that.
func taken(machine string, c config.Deployment, own deployment.Inventory) bool {
	return slices.ContainsFunc(own.All(), func(h deployment.Host) bool { return h.Machine() == machine }) ||
		slices.ContainsFunc(c.Sentries, func(s config.Sentry) bool { return s.Name == machine })
}

// Retire is what there is once another machine is to be a host.
func (o *ObservedDeployment) Retire(next deployment.Host, identity roster.Key) {
	was := o.Hosts[next.Name]
	was.Host.Identity = identity
	o.Replaced = append(slices.Clone(o.Replaced), was)
	o.Hosts[next.Name] = ObservedHost{Host: next}
}

// swaps are the names of sentries that the roster has and that leave it, for one of the same name that comes.
func swaps(want Want, have ObservedDeployment) []string {
	var out []string
	if have.Head == nil {
		return nil
	}
	for _, o := range have.Replaced {
		m, is := have.Head.Member(o.Host.Name)
		if is && m.Identity == o.Host.Identity {
			out = append(out, o.Host.Name)
		}
	}
	if want.Replace != "" {
		out = append(out, want.Replace)
	}
	return out
}

// mayReplace says why the validator could be left without any sentry while others take the place of some, or would not hear of it.
func mayReplace(want Want, have ObservedDeployment) error {
	if len(swaps(want, have)) == 0 {
		return nil
	}
	for _, h := range want.Own.Hosts {
		if o := have.Hosts[h.Name]; want.Replace != "" && o.Exists && !o.Agent {
			return &Refusal{
				Why:  fmt.Sprintf("the agent of %s does not run, and would not hear that %s is made anew", h.Name, want.Replace),
				Next: fmt.Sprintf("run 'pressenter apply' first, then 'pressenter replace %s'", want.Replace),
			}
		}
	}
	return CutOff(want, have)
}

// CutOff says why the validator could be left without any sentry while others take the place of some: each that serves would
// leave, by being replaced or because the config does not name it. One that stays serves if the validator says that it is linked to
// it, whatever the operator's computer reaches. Of one that leaves it is enough that it is well: the validator may have its link in
// a moment.
func CutOff(want Want, have ObservedDeployment) error {
	all := swaps(want, have)
	if len(all) == 0 {
		return nil
	}
	v, err := linksOf(have)
	if err != nil || v.rests() {
		return err
	}
	serves := ""
	for _, m := range have.Head.Members {
		_, wanted := want.Own.Host(m.Name)
		_, invited := want.Own.InvitedHost(m.Name)
		switch leaves := slices.Contains(all, m.Name) || !wanted && !invited; {
		case m.Role != roster.RoleSentry:
		case leaves && (v.linked(m) || have.machine(m).well()):
			serves = cmp.Or(serves, m.Name)
		case !leaves && v.linked(m) && (invited || have.Hosts[m.Name].well()):
			return nil
		}
	}
	if serves == "" {
		return nil // it is cut off already
	}
	return &Refusal{
		Why: fmt.Sprintf("no other sentry is well and linked to the validator: it would be cut off while %s is replaced", serves),
		Next: "see 'pressenter status' for the others, and bring one up that stays; if there is no other, add one to the config and apply first; " +
			"a replacement that has begun is taken back by 'pressenter replace " + serves + " --cancel'",
	}
}

// machine is the machine that is a member: one that was replaced is that until the roster has another.
func (o ObservedDeployment) machine(m roster.Member) ObservedHost {
	for _, was := range o.Replaced {
		if was.Host.Identity == m.Identity {
			return was
		}
	}
	return o.Hosts[m.Name]
}

// linksOf is the validator of the roster, where it can be seen to whom it is linked, or that it rests. One without a
// validator's host rests.
func linksOf(have ObservedDeployment) (ObservedHost, error) {
	for _, m := range have.Head.Members {
		o := have.Hosts[m.Name]
		switch {
		case m.Role != roster.RoleValidator:
			continue
		case o.Status.Intent.Held:
			return o, &Refusal{
				Why:  fmt.Sprintf("%s is %s, and would not hear of a sentry that takes the place of another", m.Name, intended(o.Status.Intent)),
				Next: fmt.Sprintf("run 'pressenter hold --release %s' first", m.Name),
			}
		case !o.rests() && (!o.Agent || !o.Status.Node.Answers):
			return o, &Refusal{
				Why:  fmt.Sprintf("the node of %s does not answer, and nobody can tell which sentries it is linked to", m.Name),
				Next: fmt.Sprintf("run 'pressenter start %s', and see 'pressenter status'; or 'pressenter stop %s' while a sentry is replaced", m.Name, m.Name),
			}
		}
		return o, nil
	}
	return ObservedHost{}, nil
}

// rests says whether a host's node is meant not to run, and does not.
func (o ObservedHost) rests() bool { return !o.Exists || o.Agent && Rests(o.Status) }

// Rests says whether a host's agent keeps its node down, so that it has no links to lose.
func Rests(st api.HostStatus) bool {
	n := st.Node
	return n.DaemonPID == 0 && !n.Answers && (st.Enrolled == nil || st.Intent.Stopped || st.Reason != "")
}

// linked says whether a host's node has a link to a member's.
func (o ObservedHost) linked(m roster.Member) bool {
	return slices.ContainsFunc(o.Status.Node.Peers, func(p api.Peer) bool { return p.NodeID == m.NodeID })
}

// well says whether a node runs and keeps up.
func (o ObservedHost) well() bool {
	n := o.Status.Node
	return o.Exists && o.Away == "" && o.Agent && !o.Status.Intent.Stopped && n.Answers && !n.CatchingUp
}

// takeOut removes a sentry that is to be made anew where it is: first from the roster, then from its machine. Whoever finds
// only the first done goes on from there.
func (b *builder) takeOut(s *side) {
	name := b.want.Replace
	if name == "" || s.want.Deployment != b.want.Own.Deployment {
		return
	}
	next := roster.Next(s.have.Head)
	next.Remove(name)
	b.stage([]Step{TakeOut{On{s.want.Deployment, name}, next.Generation}})
	b.stage([]Step{DestroyHost{On{s.want.Deployment, name}, string(roster.RoleSentry)}})
	h, _ := s.want.Host(name)
	s.have.Head = next
	s.have.Hosts[name] = ObservedHost{Host: h}
}

// join ends the coming of sentries in the place of others with the proof that the validator has them.
func (b *builder) join(s side, names []string) {
	var out []Step
	for _, name := range names {
		out = append(out, AwaitJoined{On{s.want.Deployment, name}})
	}
	b.stage(out)
}

// pending are those of the sentries that come which the roster has already.
func (b *builder) pending() []string {
	leave, head := swaps(b.want, b.have.Own), b.have.Own.Head
	return slices.DeleteFunc(slices.Clone(b.coming), func(name string) bool {
		if head == nil {
			return true
		}
		_, is := head.Member(name)
		return !is || slices.Contains(leave, name)
	})
}

// comes are the sentries that take the place of another.
func comes(want Want, have ObservedDeployment) []string {
	var out []string
	for _, o := range have.Replaced {
		if _, wanted := want.Own.Host(o.Host.Name); wanted {
			out = append(out, o.Host.Name)
		}
	}
	if want.Replace != "" {
		out = append(out, want.Replace)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// discard removes machines whose place others have taken.
func (b *builder) discard(s side, which func(deployment.Host) bool) {
	var out []Step
	for _, o := range s.have.Replaced {
		if s.have.Fork || !which(o.Host) {
			continue
		}
		out = append(out, RemoveReplaced{On{s.want.Deployment, o.Host.Name}, o.Host.Machine(), cmp.Or(o.Host.Public, o.Host.Folder)})
	}
	slices.SortFunc(out, func(a, b Step) int { return cmp.Compare(a.String(), b.String()) })
	b.stage(out)
}

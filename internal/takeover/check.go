package takeover

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pressenter/pressenter/internal/atomicfile"
	"github.com/pressenter/pressenter/internal/node"
)

// check says what a takeover would fail of. It changes nothing.
func (t *Taker) check(ctx context.Context, o Order) error {
	if o.BackupTo == "" {
		return errors.New("it is not said to whom the key is to be sealed")
	}
	if err := t.checkUnit(ctx, o.Unit); err != nil {
		return err
	}
	if err := t.checkPlace(o.Home); err != nil {
		return err
	}
	if err := t.checkParts(o.Home); err != nil {
		return err
	}
	key, _, err := readKey(o.Home, o)
	if err != nil {
		return err
	}
	defer clear(key)
	if _, err := seal(o, key); err != nil {
		return err
	}
	for _, path := range []string{t.newHome(), t.signing().Dir, t.backup()} {
		if there(path) {
			return fmt.Errorf("there is %s already", path)
		}
	}
	return t.checkHolders(ctx, o)
}

// volatile are folders of units that come before the administrator's: a mask does not hold against what is in them.
var volatile = []string{"/run/", "/etc/systemd/system.control/"}

// checkUnit says whether a unit can be masked, and that undone.
func (t *Taker) checkUnit(ctx context.Context, unit string) error {
	u, err := t.System.Show(ctx, unit)
	switch {
	case err != nil:
		return err
	case u.Load != "loaded":
		return fmt.Errorf("%s is %s", unit, u.Load)
	case slices.ContainsFunc(volatile, func(dir string) bool { return strings.HasPrefix(u.Fragment, dir) }):
		return fmt.Errorf("%s is in %s: a mask does not hold against it", unit, u.Fragment)
	case u.ID != unit:
		return fmt.Errorf("%s is another name of %s: name that one", unit, u.ID)
	case slices.ContainsFunc(u.Names, func(name string) bool { return name != unit }):
		return fmt.Errorf("%s has more than one name, %s: a mask is for one of them; remove the others", unit, strings.Join(u.Names, ", "))
	}
	links, err := os.ReadDir(t.Units)
	if err != nil {
		return err
	}
	for _, l := range links { // those that systemd has not read
		if to, err := os.Readlink(filepath.Join(t.Units, l.Name())); err == nil && l.Name() != unit && filepath.Base(to) == unit {
			return fmt.Errorf("%s is another name of %s: a mask is for one of them; remove the other", filepath.Join(t.Units, l.Name()), unit)
		}
	}
	path := filepath.Join(t.Units, unit)
	if to, err := os.Readlink(path); err == nil { // undo would put a link back, and not what it leads to
		return fmt.Errorf("the file of %s is a link to %s: copy it to its place, and run 'systemctl daemon-reload'", unit, to)
	}
	if there(path + asideSuffix) {
		return fmt.Errorf("there is %s already: look at it, and remove it", path+asideSuffix)
	}
	return nil
}

// checkPlace says whether the home can be moved by a single rename, and nobody but the daemon misses it.
func (t *Taker) checkPlace(home string) error {
	if real, err := filepath.EvalSymlinks(home); err != nil || real != home {
		return errors.Join(fmt.Errorf("%s is %s", home, real), err)
	}
	at := filepath.Dir(t.Root)
	want, err := deviceOf(at)
	if err != nil {
		return err
	}
	for _, path := range []string{home, filepath.Join(home, "config"), filepath.Join(home, "data")} {
		device, err := deviceOf(path)
		if err != nil {
			return err
		}
		if device != want {
			return fmt.Errorf("%s is not on the file system of %s: moving a home between two is not in this version", path, at)
		}
	}
	mounts, err := t.System.Mounts()
	if err != nil {
		return err
	}
	if from, to := mountOf(mounts, filepath.Dir(home)), mountOf(mounts, filepath.Dir(t.newHome())); from != to {
		return fmt.Errorf("%s is mounted at %s, and %s at %s: moving a home between two mounts is not in this version", home, from, at, to)
	}
	for _, m := range mounts {
		if m == home || within(m, home) {
			return fmt.Errorf("something is mounted at %s: moving that is not in this version", m)
		}
	}
	logins, err := t.System.Logins()
	if err != nil {
		return err
	}
	for _, l := range logins {
		if l == home || within(l, home) {
			return fmt.Errorf("%s is the home of somebody who logs in: whoever does could not any more; move the daemon's home into a folder of its own", l)
		}
	}
	return nil
}

func within(path, folder string) bool { return strings.HasPrefix(path, folder+"/") }

// mountOf is the mount that a path is in.
func mountOf(mounts []string, path string) (in string) {
	for _, m := range mounts {
		if (m == "/" || m == path || within(path, m)) && len(m) > len(in) {
			in = m
		}
	}
	return in
}

// checkParts says whether what is in a home is what a validator of ours runs on: nothing of it lies elsewhere, and its files
// can be edited.
func (t *Taker) checkParts(home string) error {
	for _, part := range []string{"config", "data"} {
		if info, err := os.Lstat(filepath.Join(home, part)); err != nil {
			return err
		} else if !info.IsDir() {
			return fmt.Errorf("%s is not a folder", filepath.Join(home, part))
		}
	}
	if there(filepath.Join(home, ".ssh")) {
		return fmt.Errorf("there is %s: somebody logs in with it", filepath.Join(home, ".ssh"))
	}
	err := filepath.WalkDir(home, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // it runs, and removes files
			return nil
		case err != nil:
			return err
		case d.IsDir() && path == filepath.Join(home, programs):
			return fs.SkipDir // it is put aside
		case d.Type()&fs.ModeSymlink != 0:
			return checkLink(home, path)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if _, err := os.Lstat(filepath.Join(home, "config", "node_key.json")); err != nil {
		return err
	}
	var texts [2][]byte
	for i, name := range []string{"config.toml", "app.toml"} {
		if texts[i], err = atomicfile.Read(filepath.Join(home, "config", name), 1<<20); err != nil {
			return err
		}
	}
	return node.Takes(texts[0], texts[1])
}

// checkLink says whether a link still leads to where it does once the home has another place, and a node of ours may go there.
func checkLink(home, link string) error {
	to, err := os.Readlink(link)
	if err == nil && !filepath.IsAbs(to) {
		if to, err = filepath.EvalSymlinks(link); err == nil && within(to, home) {
			return nil
		}
	}
	return errors.Join(fmt.Errorf("%s is a link out of the home, or an absolute one: a node of ours could not follow it", link), ignoreMissing(err))
}

// checkHolders says who but the unit has the home open: the takeover would wait for them, with the unit down.
func (t *Taker) checkHolders(ctx context.Context, o Order) error {
	its := map[int]bool{}
	hear := func() error {
		u, err := t.System.Show(ctx, o.Unit)
		if err != nil {
			return err
		}
		pids, err := t.System.Processes(u)
		for _, pid := range pids {
			its[pid] = true
		}
		return err
	}
	if err := hear(); err != nil {
		return err
	}
	who, err := t.System.Holders(o.Home)
	if err != nil {
		return fmt.Errorf("find out who has %s open: %w", o.Home, err)
	}
	if err := hear(); err != nil { // it may have begun one meanwhile
		return err
	}
	return held(slices.DeleteFunc(who, func(h Holder) bool { return its[h.PID] }), o)
}

// held says who has the home open.
func held(who []Holder, o Order) error {
	if len(who) == 0 {
		return nil
	}
	all := make([]string, len(who))
	for i, h := range who {
		all[i] = h.String()
	}
	return fmt.Errorf("%s has %s open, and is not of %s: end it", strings.Join(all, ", "), o.Home, o.Unit)
}

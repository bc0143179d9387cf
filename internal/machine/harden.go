package machine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"

	"github.com/pressenter/pressenter/internal/health"
)

// harden makes the machine safe to leave alone. What cannot be done and does not keep a host from working is a finding.
func harden(ctx context.Context, spec Spec, r *Report) error {
	for _, step := range []func() error{
		func() error { return keepJournal(ctx, r) },
		func() error { return keepKernel(ctx, r) },
		func() error { return keepTime(ctx, r) },
		func() error { return keepUpdates(ctx, spec, r) },
		func() error { return needFilter(ctx, r) },
		func() error { return keepFirewall(ctx, r) },
		func() error { return guardDoors(ctx, spec, r) }, // last, as the time for a confirmation begins with it
	} {
		if err := step(); err != nil {
			return fmt.Errorf("harden: %w", err)
		}
	}
	return nil
}

// needFilter installs what loads packet filters. Without it there is no mesh.
func needFilter(ctx context.Context, r *Report) error {
	if _, err := program("nft"); err == nil {
		return nil
	}
	if err := install(ctx, "nftables"); err != nil {
		return fmt.Errorf("this host needs nftables: %w", err)
	}
	r.note("package nftables")
	return nil
}

// keepFirewall mends what has every boot load a filter that is there already. What that says is proven, so it needs no
// trial.
func keepFirewall(ctx context.Context, r *Report) error {
	was, err := bootFirewall(ctx)
	for _, w := range was {
		r.note("%s %s", firewallUnit, w)
	}
	return err
}

// Check says what of the hardening is not as a set-up left it. It changes nothing.
func Check(ctx context.Context, deployment, host string) (found []health.Finding) {
	for path, text := range map[string]string{
		journalFile: journalText, kernelFile: kernelText, updatesFile: updatesText, needrestartFile: needrestartText,
		updatesTimer: updatesAt(deployment, host),
	} {
		if !same(path, text) {
			found = append(found, health.Finding{
				Code: "drift-file", Severity: health.Warning, Subject: path, Message: path + " was edited or removed on the machine.",
				Next: "Run 'pressenter harden', which puts it back.",
			})
		}
	}
	noted, _ := Load(Folder) //nolint:errcheck // the repair of units says what is wrong with it
	found = append(append(found, checkTime(ctx)...), checkDoors(ctx, noted.Filter)...)
	found = append(found, checkTaken(ctx, takenFile)...)
	found = append(found, checkVolume(noted.Volume != "", unitFile(volumeUnit), volumeAt)...)
	health.Sort(found)
	return found
}

// guardDoors closes what need not be open, on trial: the report says that it waits for a confirmation.
func guardDoors(ctx context.Context, spec Spec, r *Report) error {
	visit, found := FindVisit()
	sshd, finding, err := sshdChange(ctx, visit, found)
	if err != nil {
		return err
	}
	if finding != nil {
		r.Findings = append(r.Findings, *finding)
	}
	filter, err := firewallChange(spec)
	if err != nil {
		return err
	}
	r.Findings = append(r.Findings, otherFilters(ctx)...)
	var files []changedFile
	for _, c := range []*changedFile{sshd, filter} {
		if c != nil {
			files = append(files, *c)
		}
	}
	switch {
	case len(files) == 0 && !onTrial():
		return nil
	case len(files) == 0:
		r.Trial = true
		return restartTrial(ctx) // a set-up that was killed left it
	case onTrial():
		if err := endTrial(ctx); err != nil {
			return err
		}
		return guardDoors(ctx, spec, r)
	}
	err = try(ctx, files, func(ctx context.Context) error {
		if filter != nil {
			if err := loadFirewall(ctx); err != nil {
				return err
			}
		}
		if sshd != nil {
			return reloadSSHD(ctx)
		}
		return nil
	})
	if err != nil {
		r.Findings = append(r.Findings, health.Finding{
			Code: "not-hardened", Severity: health.Warning, Message: fmt.Sprintf("SSH and packet filter are as they were: %v.", err),
			Next: "Mend the cause, then run 'pressenter harden'.",
		})
		return nil
	}
	for _, f := range files {
		r.note("%s", f.path)
	}
	r.Trial = true
	return nil
}

// Filtered says whether the machine has a packet filter that whoever keeps it came in through.
func Filtered() bool {
	_, err := os.Stat(firewallFile)
	_, undone := takenBack()
	return err == nil && !undone
}

// checkDoors says what of SSH and the packet filter is not as a set-up left it; filter is what the latter should say, if that
// is known. It changes nothing.
func checkDoors(ctx context.Context, filter string) (found []health.Finding) {
	at, undone := takenBack()
	if undone {
		found = append(found, health.Finding{
			Code: "trial-taken-back", Severity: health.Warning, Subject: "sshd and packet filter",
			Message: fmt.Sprintf("What was changed of SSH and the packet filter was taken back at %s: nobody confirmed by a new connection within a minute.", at),
			Next:    "Run 'pressenter harden'. If it happens again, see docs/runbooks/ssh-locked-out.md.",
		})
	}
	if !same(sshdDropIn, sshdText("")) && !same(sshdDropIn, sshdText("no")) {
		found = append(found, health.Finding{
			Code: "ssh-not-hardened", Severity: health.Warning, Subject: sshdDropIn,
			Message: sshdDropIn + " is not there, or was edited: SSH may take passwords.",
			Next:    "Run 'pressenter harden', which says why if it cannot make it.",
		})
	}
	if undone {
		filter = "" // what was before it holds
	}
	text, err := firewallUnitNow()
	if _, there := os.Stat(firewallFile); there == nil && err != nil {
		return append(found, missing("nftables", "No packet filter can be loaded at boot", err))
	}
	return append(found, checkFirewall(firewallFile, filter, unitFile(firewallUnit), text, unitState(ctx, firewallUnit, "UnitFileState"))...)
}

// soften takes away what harden made, the sshd settings too: whoever uses the server next may come in as before.
func soften(ctx context.Context) error {
	if err := endTrial(ctx); err != nil {
		return err
	}
	err := errors.Join(removeFirewall(ctx), removeSSHD(ctx), removeVolume(ctx))
	for _, path := range []string{journalFile, kernelFile, updatesFile, updatesTimer, needrestartFile} {
		if e := os.Remove(path); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	if _, missing := os.Stat(filepath.Join(unitFolder, trialUnit)); missing == nil {
		_, e := output(ctx, "systemctl", "disable", "--quiet", trialUnit)
		err = errors.Join(err, e)
	}
	for _, name := range []string{trialUnit, trialTimer} {
		if e := os.Remove(filepath.Join(unitFolder, name)); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return errors.Join(err, os.RemoveAll(configFolder))
}

func homeOf(name string) string {
	if u, err := user.Lookup(name); err == nil {
		return u.HomeDir
	}
	return "/root"
}

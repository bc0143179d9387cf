package machine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pressenter/pressenter/internal/atomicfile"
)

// What could shut out whoever keeps the machine is changed on trial. Who asked for it has to come in once more, by a new
// connection, and confirm; else systemd takes it back: after [TrialLimit] by a timer, and at the next boot before anything
// that was changed is read. What takes it back is a shell script that needs nothing of ours.
const (
	configFolder = "/etc/pressenter"
	trialFolder  = configFolder + "/trial"
	trialUndo    = trialFolder + "/undo"    // nobody has confirmed yet; whoever renames it first decides
	trialUndoing = trialFolder + "/undoing" // being taken back
	trialUndone  = trialFolder + "/undone"  // was taken back

	trialUnit  = "pressenter-trial.service"
	trialTimer = "pressenter-trial.timer"
)

// TrialLimit is how long there is for a confirmation.
const TrialLimit = time.Minute

const trialUnitText = `[Unit]
Description=pressenter: take back what nobody confirmed
DefaultDependencies=no
RequiresMountsFor=` + configFolder + `
After=local-fs.target
Before=network-pre.target ` + firewallUnit + ` ssh.service ssh.socket shutdown.target
Conflicts=shutdown.target
ConditionPathExistsGlob=` + trialFolder + `/undo*

[Service]
Type=oneshot
ExecStart=/bin/sh -c 'cd ` + trialFolder + ` && { mv undo undoing 2>/dev/null || [ -e undoing ]; } || exit 0; exec /bin/sh ./undoing'

[Install]
WantedBy=sysinit.target
`

const trialTimerText = `[Unit]
Description=pressenter: wait for a confirmation

[Timer]
OnActiveSec=1min
AccuracySec=1s
`

// changedFile is a file on trial.
type changedFile struct {
	path string
	text string // what it will say; empty: it will not be there
}

// undoScript takes files back whose former contents, where there were any, lie beside it by their number. It can be
// killed anywhere and run again.
func undoScript(files []changedFile, existed []bool) string {
	var b strings.Builder
	b.WriteString("# Takes back what was changed on trial and not confirmed. Written by pressenter.\n")
	for i, f := range files {
		if existed[i] {
			fmt.Fprintf(&b, "[ ! -e %d ] || mv -f %d '%s'\n", i, i, f.path)
		} else {
			fmt.Fprintf(&b, "rm -f '%s'\n", f.path)
		}
	}
	fmt.Fprintf(&b, "if [ -e %[1]s ]; then nft -f %[1]s; else nft delete table inet pressenter_underlay 2>/dev/null; fi\n", firewallFile)
	b.WriteString("systemctl --no-block try-reload-or-restart ssh.service\n")
	b.WriteString("date -u +%FT%TZ >undoing.at\nmv undoing undone\nsync\n")
	return b.String()
}

// try changes files on trial, and then has apply tell those who read them. If that fails, all is as it was.
func try(ctx context.Context, files []changedFile, apply func(context.Context) error) error {
	if err := armTrial(ctx, files); err != nil {
		return fmt.Errorf("guard a change of the machine: %w", err)
	}
	err := func() error {
		for _, f := range files {
			if err := f.put(); err != nil {
				return err
			}
		}
		return apply(ctx)
	}()
	if err == nil {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	if _, back := output(ctx, "systemctl", "start", trialUnit); back != nil {
		return fmt.Errorf("%w; taking it back: %w", err, back)
	}
	_, _ = output(ctx, "systemctl", "stop", trialTimer) // it would find nothing to do
	return fmt.Errorf("%w; it was taken back", err)
}

func (f changedFile) put() error {
	if f.text == "" {
		if err := os.Remove(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	_, err := place(f.path, f.text)
	return err
}

// armTrial keeps what files say now, and starts the time that there is for a confirmation.
func armTrial(ctx context.Context, files []changedFile) error {
	changed := false
	for name, text := range map[string]string{trialUnit: trialUnitText, trialTimer: trialTimerText} {
		did, err := place(filepath.Join(unitFolder, name), text)
		if err != nil {
			return err
		}
		changed = changed || did
	}
	if changed {
		if _, err := output(ctx, "systemctl", "daemon-reload"); err != nil {
			return err
		}
	}
	if _, err := output(ctx, "systemctl", "enable", "--quiet", trialUnit); err != nil {
		return err
	}
	fresh := trialFolder + ".new"
	if err := errors.Join(os.RemoveAll(fresh), os.RemoveAll(trialFolder), os.MkdirAll(fresh, 0o700)); err != nil {
		return err
	}
	existed := make([]bool, len(files))
	for i, f := range files {
		b, err := os.ReadFile(f.path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		existed[i] = true
		if err := atomicfile.Write(filepath.Join(fresh, fmt.Sprint(i)), b, 0o644); err != nil {
			return err
		}
	}
	if err := atomicfile.Write(filepath.Join(fresh, filepath.Base(trialUndo)), []byte(undoScript(files, existed)), 0o600); err != nil {
		return err
	}
	if err := os.Rename(fresh, trialFolder); err != nil {
		return err
	}
	return restartTrial(ctx)
}

// restartTrial gives the whole time for a confirmation.
func restartTrial(ctx context.Context) error {
	_, err := output(ctx, "systemctl", "restart", trialTimer)
	return err
}

// onTrial says whether something waits for a confirmation, or is being taken back.
func onTrial() bool {
	_, err := os.Stat(trialUndo)
	_, undoing := os.Stat(trialUndoing)
	return err == nil || undoing == nil
}

// endTrial takes back what waits for a confirmation, so that the next trial begins with what is proven.
func endTrial(ctx context.Context) error {
	if !onTrial() {
		return nil
	}
	_, err := output(ctx, "systemctl", "start", trialUnit)
	return err
}

// Confirm keeps what is on trial. Whoever asks has come in with it.
func Confirm(ctx context.Context) error {
	err := os.Rename(trialUndo, trialFolder+"/kept")
	if errors.Is(err, fs.ErrNotExist) {
		if at, undone := takenBack(); undone || onTrial() {
			return fmt.Errorf("the machine has taken the change back already, at %s: it was confirmed too late", at)
		}
		return nil // confirmed before
	}
	if err != nil {
		return fmt.Errorf("confirm the change of the machine: %w", err)
	}
	if _, err := output(ctx, "systemctl", "stop", trialTimer); err != nil {
		return err
	}
	return os.RemoveAll(trialFolder)
}

// takenBack says whether the last trial ended without a confirmation, and when.
func takenBack() (at string, undone bool) {
	if _, err := os.Stat(trialUndone); err != nil {
		return "", false
	}
	b, err := os.ReadFile(trialFolder + "/undoing.at")
	if err != nil {
		return "a time that was not noted", true
	}
	return strings.TrimSpace(string(b)), true
}

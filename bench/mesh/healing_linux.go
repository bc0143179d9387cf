package main

import (
	"bufio"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// healing has the tests of whole meshes print what they measure. They break networks and wait until the mesh has
// mended itself; that it does so is what they test, how fast is for here.
func healing(ctx context.Context, s settings) error {
	program, err := filepath.Abs(filepath.Join(s.bin, "pressenter"))
	if err != nil {
		return err
	}
	const measuring = "^TestMesh(Mover|ListenerMoves|SilentPath|Partition|BlackHole|RestartsTogether|Revocation)$"
	// They need no chain, so any file will do for its daemon.
	cmd := exec.CommandContext(ctx, "go", "test", "./e2e", "-count=1", "-timeout=20m", "-v", "-run="+measuring, "-e2e", "-figures", "-daemon="+program)
	cmd.Stderr = progress
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "figure ") {
			fmt.Println(lines.Text())
		} else {
			fmt.Fprintln(progress, lines.Text())
		}
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("meshes that heal: %w", err)
	}
	return nil
}

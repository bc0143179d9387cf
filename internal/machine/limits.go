package machine

import (
	"context"
	"fmt"

	"github.com/pressenter/pressenter/internal/health"
)

const kernelFile = "/etc/sysctl.d/60-pressenter.conf"

// kernelText is the one setting that a host needs. Open files and core dumps are matters of our units, which bound
// the one and forbid the other; WireGuard and the packet filter work with the kernel's own settings, and the mesh neither
// forwards nor needs larger buffers.
const kernelText = `# Made by pressenter, which puts it back.
# A daemon that was swapped out signs late. Its memory goes last, after what only caches files.
vm.swappiness = 10
`

// keepKernel sets what the kernel lets.
func keepKernel(ctx context.Context, r *Report) error {
	changed, err := place(kernelFile, kernelText)
	if err != nil || !changed {
		return err
	}
	r.note("%s", kernelFile)
	if _, err := output(ctx, "sysctl", "--quiet", "--load="+kernelFile); err != nil {
		r.Findings = append(r.Findings, health.Finding{
			Code: "kernel-settings", Severity: health.Info, Subject: kernelFile,
			Message: fmt.Sprintf("The kernel does not take settings here, as in a container: %v.", err),
		})
	}
	return nil
}

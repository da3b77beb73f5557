package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// clusterLabel is the label by which kind finds its containers.
const clusterLabel = "io.x-k8s.kind.cluster"

// kindNetwork is the Docker network that kind shares between clusters.
const kindNetwork = "kind"

// Found is a cluster on this machine that reprise made.
type Found struct {
	Name      string
	Owner     Owner
	CreatedAt time.Time
	nodes     []string // container ids
}

// Abandoned reports whether the run that made the cluster has ended.
func (f Found) Abandoned(now time.Time) bool { return f.Owner.Gone(now.Sub(f.CreatedAt)) }

// List returns the clusters on this machine that reprise made, whoever uses
// them now. Other kind clusters are left out, whatever their name.
func List(ctx context.Context, env []string) ([]Found, error) {
	d := docker{env}
	ids, err := d.lines(ctx, "ps", "--all", "--quiet", "--no-trunc", "--filter", "label="+clusterLabel)
	if err != nil || len(ids) == 0 {
		return nil, wrap(err, "list kind's containers")
	}
	out, err := d.run(ctx, append([]string{"inspect", "--type=container"}, ids...)...)
	if err != nil && out == "" {
		return nil, wrap(err, "inspect kind's containers")
	}
	// An error with output means that a container vanished in between.
	var containers []struct {
		ID      string `json:"Id"`
		Created time.Time
		Config  struct{ Labels map[string]string }
		Mounts  []struct{ Destination string }
	}
	if err := json.Unmarshal([]byte(out), &containers); err != nil {
		return nil, fmt.Errorf("read docker inspect: %w", err)
	}
	var found []Found
	for _, c := range containers {
		for _, m := range c.Mounts {
			if owner, ok := parseOwner(m.Destination); ok {
				found = append(found, Found{Name: c.Config.Labels[clusterLabel], Owner: owner, CreatedAt: c.Created, nodes: []string{c.ID}})
				break
			}
		}
	}
	return found, nil
}

// Sweep removes clusters that reprise made and whose run has ended, or all
// that reprise made if all is set. It returns the names of those that are gone;
// the error joins what could not be removed.
func Sweep(ctx context.Context, env []string, now time.Time, all bool) ([]string, error) {
	found, err := List(ctx, env)
	if err != nil {
		return nil, err
	}
	var removed []string
	var errs []error
	d := docker{env}
	madeNetwork := false
	for _, f := range found {
		if !all && !f.Abandoned(now) {
			continue
		}
		if err := d.remove(ctx, f.nodes...); err != nil {
			errs = append(errs, fmt.Errorf("remove cluster %s: %w", f.Name, err))
			continue
		}
		removed = append(removed, f.Name)
		madeNetwork = madeNetwork || f.Owner.MadeNetwork
	}
	if madeNetwork {
		d.removeNetwork(ctx)
	}
	return removed, errors.Join(errs...)
}

// remove deletes containers and their anonymous volumes. It tries twice,
// because Docker sometimes loses the exit event of a node, and takes a
// container that is gone already for success.
func (d docker) remove(ctx context.Context, containers ...string) error {
	args := append([]string{"rm", "--force", "--volumes"}, containers...)
	if _, err := d.run(ctx, args...); err == nil {
		return nil
	}
	for _, c := range containers {
		gone := func() bool {
			_, err := d.run(ctx, "inspect", "--type=container", "--format", "{{.Id}}", c)
			return err != nil && strings.Contains(strings.ToLower(err.Error()), "no such") // and not that Docker was too slow to say
		}
		if gone() {
			continue
		}
		if _, err := d.run(ctx, "rm", "--force", "--volumes", c); err != nil {
			// Somebody else may be at it already.
			wait, cancel := context.WithTimeout(ctx, removeTimeout)
			late := poll(wait, 200*time.Millisecond, gone)
			cancel()
			if late != nil {
				return err
			}
		}
	}
	return nil
}

// removeTimeout bounds the wait for a removal that somebody else began.
const removeTimeout = 8 * time.Second

// removeNetwork removes kind's network if nothing is attached to it. Docker
// refuses otherwise, which is right: another cluster uses it.
func (d docker) removeNetwork(ctx context.Context) { _, _ = d.run(ctx, "network", "rm", kindNetwork) }

func (d docker) hasNetwork(ctx context.Context) bool {
	_, err := d.run(ctx, "network", "inspect", "--format", "{{.Id}}", kindNetwork)
	return err == nil
}

func wrap(err error, doing string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}

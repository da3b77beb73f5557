package agent

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Push copies the image to a registry under the given name, with the
// credentials that docker login has stored, and returns the name with the
// image's digest.
func (i *Image) Push(ctx context.Context, ref string) (string, error) {
	to, err := name.ParseReference(ref)
	if err != nil {
		return "", fmt.Errorf("push the agent image: %w", err)
	}
	if err := remote.Write(to, i.img, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
		return "", fmt.Errorf("push the agent image to %s: %w", to, err)
	}
	digest, err := i.img.Digest()
	if err != nil {
		return "", fmt.Errorf("push the agent image: %w", err)
	}
	return to.Context().Digest(digest.String()).String(), nil
}

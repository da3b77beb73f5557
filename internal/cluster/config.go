package cluster

import (
	"path/filepath"

	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
)

// kindConfig is a one-node cluster that starts fast and is thrown away soon.
func kindConfig(name, image string, owner Owner) *v1alpha4.Cluster {
	config := &v1alpha4.Cluster{
		Name: name,
		Nodes: []v1alpha4.Node{{
			Role:        v1alpha4.ControlPlaneRole,
			Image:       image,
			ExtraMounts: []v1alpha4.Mount{{HostPath: "/dev/null", ContainerPath: owner.path(), Readonly: true}},
		}},
		KubeadmConfigPatches: kubeadmPatches,
	}
	v1alpha4.SetDefaultsCluster(config)
	return config
}

// kubeadmPatches make the control plane quick rather than durable.
var kubeadmPatches = []string{
	// The node's /tmp is memory, so that no write of etcd waits for a disk. The
	// cluster does not survive a restart of its node, which nobody needs.
	`kind: ClusterConfiguration
etcd:
  local:
    dataDir: /tmp/etcd
`,
	// There is one scheduler and one controller manager: no lease to wait for.
	// Before v1beta4 extra arguments are a map, since then a list, which a merge
	// patch would replace as a whole.
	`apiVersion: kubeadm.k8s.io/v1beta3
kind: ClusterConfiguration
scheduler:
  extraArgs:
    leader-elect: "false"
controllerManager:
  extraArgs:
    leader-elect: "false"
`,
	`kind: KubeletConfiguration
serializeImagePulls: false
`,
	// A Service's address leads to its pod at once, not a second later.
	`kind: KubeProxyConfiguration
iptables:
  minSyncPeriod: 0s
`,
}

func kubeconfigPath(dir, name string) string { return filepath.Join(dir, name+".kubeconfig") }

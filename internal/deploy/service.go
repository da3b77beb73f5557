package deploy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// findService picks the Service and port that take the requests.
func (c *Chart) findService() error {
	wantName, wantPort, _ := strings.Cut(c.opts.Service, ":")
	services := c.services()
	service, err := pickService(services, wantName, c.opts.Chart)
	if err != nil {
		return err
	}
	c.Service = service.name()
	ports := portsOf(service)
	c.Port, err = pickPort(ports, wantPort, c.Service)
	return err
}

func (c *Chart) services() []object {
	var services []object
	for _, o := range c.objects {
		if o.kind() == "Service" && o.string("apiVersion") == "v1" {
			services = append(services, o)
		}
	}
	return services
}

func pickService(services []object, want, chart string) (object, error) {
	names := make([]string, len(services))
	for i, s := range services {
		names[i] = s.name()
	}
	slices.Sort(names)
	if want != "" {
		for _, s := range services {
			if s.name() == want {
				return s, nil
			}
		}
		if len(names) == 0 {
			return nil, fmt.Errorf("chart-service: %s has no Service at all, so none named %s", chart, want)
		}
		return nil, fmt.Errorf("chart-service: %s has no Service %s; it has %s", chart, want, strings.Join(names, ", "))
	}
	if len(services) == 0 {
		return nil, fmt.Errorf("chart: %s has no Service, so nothing can take the requests; add one, or turn it on with set", chart)
	}
	// A headless Service is the shadow of a StatefulSet, not a way in.
	var candidates []object
	for _, s := range services {
		if ip, _ := s.at("spec")["clusterIP"].(string); ip != "None" {
			candidates = append(candidates, s)
		}
	}
	if len(candidates) == 1 {
		return candidates[0], nil
	}
	if len(services) == 1 {
		return services[0], nil
	}
	return nil, fmt.Errorf("chart-service: missing; %s has %d Services (%s), name the one that takes the requests", chart, len(services), strings.Join(names, ", "))
}

func portsOf(service object) []Port {
	var ports []Port
	list, _ := service.at("spec")["ports"].([]any)
	for _, item := range list {
		p, _ := item.(map[string]any)
		if protocol, ok := p["protocol"].(string); ok && protocol != "TCP" {
			continue
		}
		name, _ := p["name"].(string)
		if number, ok := p["port"].(int64); ok {
			ports = append(ports, Port{Name: name, Number: int(number)})
		}
	}
	return ports
}

func pickPort(ports []Port, want, service string) (Port, error) {
	if len(ports) == 0 {
		return Port{}, fmt.Errorf("chart-service: Service %s has no TCP port", service)
	}
	var texts []string
	for _, p := range ports {
		if want != "" && (p.Name == want || strconv.Itoa(p.Number) == want) {
			return p, nil
		}
		text := strconv.Itoa(p.Number)
		if p.Name != "" {
			text += " (" + p.Name + ")"
		}
		texts = append(texts, text)
	}
	if want != "" {
		return Port{}, fmt.Errorf("chart-service: Service %s has no port %s; it has %s", service, want, strings.Join(texts, ", "))
	}
	if len(ports) == 1 {
		return ports[0], nil
	}
	for _, p := range ports { // the usual name beside metrics or admin ports
		if p.Name == "http" {
			return p, nil
		}
	}
	return Port{}, fmt.Errorf("chart-service: Service %s has ports %s; name one, as in %s:%d", service, strings.Join(texts, ", "), service, ports[0].Number)
}

package main

import (
	"context"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/stretchr/testify/require"

	"otpbridge/config"
	"otpbridge/crypto"
)

// These tests read the compose file with docker compose's own library, so that they see what a user gets.

const composeFile = "../docker-compose.yml"

// composeVariables returns all variables that the compose file needs.
func composeVariables() []string {
	return []string{
		"OTPBRIDGE_KEYRING=" + strings.TrimSpace(crypto.NewKeyringText("k1")),
		"DATABASE_PASSWORD=0123456789abcdef",
		"MYSQL_ROOT_PASSWORD=fedcba9876543210",
	}
}

func loadCompose(options ...cli.ProjectOptionsFn) (*types.Project, error) {
	project, err := cli.NewProjectOptions([]string{composeFile}, options...)
	if err != nil {
		return nil, err
	}
	return project.LoadProject(context.Background())
}

// compose returns the project with all variables set.
func compose(t *testing.T) *types.Project {
	t.Helper()
	project, err := loadCompose(cli.WithEnv(composeVariables()))
	require.NoError(t, err)
	return project
}

// composeServers are the services built from this repository, in order.
func composeServers(t *testing.T, project *types.Project) []types.ServiceConfig {
	t.Helper()
	var servers []types.ServiceConfig
	for _, name := range []string{"otpbridge-1", "otpbridge-2"} {
		require.Contains(t, project.Services, name)
		servers = append(servers, project.Services[name])
	}
	for name, service := range project.Services {
		require.Equal(t, strings.HasPrefix(name, "otpbridge-"), service.Build != nil, name)
	}
	require.Len(t, project.Services, len(servers)+3, "mysql, nginx and mail")
	return servers
}

// containerEnviron is the environment of a server's process: the image's, then the service's.
func containerEnviron(t *testing.T, service types.ServiceConfig) []string {
	t.Helper()
	environ := readDockerfile(t).environ
	for name, value := range service.Environment {
		require.NotNil(t, value, "%s would be taken from the user's shell", name)
		environ = append(environ, name+"="+*value)
	}
	return environ
}

func TestCompose_EveryMissingVariableIsNamed(t *testing.T) {
	for i, variable := range composeVariables() {
		name, _, _ := strings.Cut(variable, "=")
		for _, rest := range [][]string{
			slices.Delete(composeVariables(), i, i+1),
			append(composeVariables(), name+"="), // an empty line in .env
		} {
			_, err := loadCompose(cli.WithEnv(rest))
			require.ErrorContains(t, err, "required variable "+name+" is missing a value")
			require.ErrorContains(t, err, `README.md, "Run it with compose"`)
		}
	}
}

// The commands in the README make an .env with all the variables that the compose file needs.
func TestCompose_TheReadmesVariablesAreEnough(t *testing.T) {
	needs(t, "bash", "openssl")
	_, section, found := strings.Cut(readme(t), "## Run it with compose\n")
	require.True(t, found, "the messages of missing variables name this section")
	_, block, found := strings.Cut(section, "```sh\n")
	require.True(t, found)
	block, _, _ = strings.Cut(block, "```")
	block, commands, found := strings.Cut(block, "docker compose")
	require.True(t, found)
	require.NotContains(t, commands, "\nEOF")

	folder := t.TempDir()
	bash := exec.Command("bash", "-euo", "pipefail", "-c", block)
	bash.Dir = folder
	out, err := bash.CombinedOutput()
	require.NoError(t, err, "%s", out)
	file := filepath.Join(folder, ".env")
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Zero(t, info.Mode().Perm()&0o077, "nobody else may read it")

	project, err := loadCompose(cli.WithEnvFiles(file), cli.WithDotEnv)
	require.NoError(t, err)
	for _, server := range composeServers(t, project) {
		settings, err := config.Load(containerEnviron(t, server))
		require.NoError(t, err)
		keyring, err := crypto.ParseKeyring(settings.Keyring.Reveal())
		require.NoError(t, err)
		require.Empty(t, keyring.SampleIDs())
	}
}

func TestCompose_SecretsStayOutOfTheRepository(t *testing.T) {
	ignored, err := os.ReadFile("../.gitignore")
	require.NoError(t, err)
	require.Contains(t, strings.Split(string(ignored), "\n"), "/.env")
}

func TestCompose_TwoServersShareDatabaseAndKeyring(t *testing.T) {
	project := compose(t)
	servers := composeServers(t, project)
	require.Equal(t, containerEnvironSorted(t, servers[0]), containerEnvironSorted(t, servers[1]), "the servers are equal")

	settings, err := config.Load(containerEnviron(t, servers[0]))
	require.NoError(t, err)
	require.Equal(t, config.Sandbox, settings.Mode, "production has no way to make accounts yet")
	require.Empty(t, settings.KeyringFile)
	_, err = crypto.ParseKeyring(settings.Keyring.Reveal())
	require.NoError(t, err)

	database, err := url.Parse(settings.DatabaseURL.Reveal())
	require.NoError(t, err)
	require.Equal(t, "mysql", database.Scheme)
	require.Equal(t, "/otpauthapi", database.Path)
	require.Contains(t, project.Services, database.Hostname())
	for _, server := range servers {
		require.Contains(t, server.Networks, "database")
		require.Contains(t, project.Services[database.Hostname()].Networks, "database")
		require.Equal(t, types.ServiceConditionHealthy, server.DependsOn[database.Hostname()].Condition)
	}
}

func containerEnvironSorted(t *testing.T, service types.ServiceConfig) []string {
	return slices.Sorted(slices.Values(containerEnviron(t, service)))
}

// A trusted proxy chooses the client's address that the servers see. Only nginx is trusted, and never the network's
// gateway, through which every program on the host connects.
func TestCompose_OnlyNginxIsTrusted(t *testing.T) {
	project := compose(t)
	front := project.Networks["front"].Ipam.Config[0]
	network, err := netip.ParsePrefix(front.Subnet)
	require.NoError(t, err)
	gateway, err := netip.ParseAddr(front.Gateway)
	require.NoError(t, err)
	dynamic, err := netip.ParsePrefix(front.IPRange)
	require.NoError(t, err)
	nginx, err := netip.ParseAddr(project.Services["nginx"].Networks["front"].Ipv4Address)
	require.NoError(t, err)
	for _, server := range composeServers(t, project) {
		settings, err := config.Load(containerEnviron(t, server))
		require.NoError(t, err)
		require.Equal(t, []netip.Prefix{netip.PrefixFrom(nginx, 32)}, settings.TrustedProxies)
		address, err := netip.ParseAddr(server.Networks["front"].Ipv4Address)
		require.NoError(t, err)
		for _, fixed := range []netip.Addr{nginx, address} {
			require.True(t, network.Contains(fixed))
			require.NotEqual(t, gateway, fixed)
			require.False(t, dynamic.Contains(fixed), "docker could give %s to another container first", fixed)
		}
	}
}

func TestCompose_OnlyLoopbackIsPublished(t *testing.T) {
	project := compose(t)
	published := map[string][]string{}
	for name, service := range project.Services {
		require.NotEqual(t, "host", service.NetworkMode, name)
		for _, port := range service.Ports {
			require.Equal(t, "127.0.0.1", port.HostIP, "%s: %s", name, port.Published)
			published[name] = append(published[name], port.Published)
		}
	}
	require.Equal(t, map[string][]string{"nginx": {"8080"}, "mail": {"8025"}}, published,
		"a server that is reached past nginx has no guard against rebound names")
	require.True(t, project.Networks["database"].Internal)
	require.NotContains(t, project.Services["nginx"].Networks, "database")
	require.NotContains(t, project.Services["mail"].Networks, "database")
}

func TestCompose_EveryServiceIsConfined(t *testing.T) {
	for name, service := range compose(t).Services {
		t.Run(name, func(t *testing.T) {
			require.Regexp(t, `^[1-9][0-9]*:[1-9][0-9]*$`, service.User, "a number, and not root's")
			require.False(t, service.Privileged)
			require.Equal(t, []string{"ALL"}, service.CapDrop)
			require.Empty(t, service.CapAdd)
			require.Equal(t, []string{"no-new-privileges:true"}, service.SecurityOpt)
			require.NotNil(t, service.Deploy)
			limits := service.Deploy.Resources.Limits
			require.Positive(t, limits.MemoryBytes)
			require.Positive(t, float64(limits.NanoCPUs))
			require.Positive(t, limits.Pids)
			require.Equal(t, len(service.Configs) == 0, service.ReadOnly,
				"read-only, except where compose has to copy an inline file in: it refuses both together")
			for _, volume := range service.Volumes {
				require.Equal(t, types.VolumeTypeVolume, volume.Type, "nothing of the host is mounted")
				require.NotEmpty(t, volume.Source, "named, or its data is lost with the container")
			}
		})
	}
}

func TestCompose_EveryServiceSaysWhetherItIsHealthy(t *testing.T) {
	for name, service := range compose(t).Services {
		t.Run(name, func(t *testing.T) {
			require.NotNil(t, service.HealthCheck)
			require.False(t, service.HealthCheck.Disable)
			require.NotEmpty(t, service.HealthCheck.Test)
			require.NotNil(t, service.HealthCheck.Timeout)
			for dependency, how := range service.DependsOn {
				require.Equal(t, types.ServiceConditionHealthy, how.Condition, dependency)
			}
		})
	}
	project := compose(t)
	for _, server := range composeServers(t, project) {
		require.Equal(t, types.HealthCheckTest(append([]string{"CMD"}, readDockerfile(t).health...)), server.HealthCheck.Test)
		require.Contains(t, project.Services["nginx"].DependsOn, server.Name)
		settings, err := config.Load(containerEnviron(t, server))
		require.NoError(t, err)
		require.Greater(t, time.Duration(*server.StopGracePeriod), settings.ShutdownTimeout)
	}
}

// Two services must not build the same image name: docker builds both at once, and the second fails.
func TestCompose_ImagesArePinned(t *testing.T) {
	names := map[string]string{}
	for name, service := range compose(t).Services {
		if service.Build != nil {
			require.Empty(t, service.Image, "%s: built images have compose's own names", name)
			require.Equal(t, "Dockerfile", service.Build.Dockerfile)
			continue
		}
		require.Regexp(t, `^[a-z0-9/-]+:v?[0-9]+\.[0-9]+\.[0-9]+(-[a-z]+)?$`, service.Image)
		require.NotContains(t, names, service.Image)
		names[service.Image] = name
	}
}

func TestCompose_HasNoVersion(t *testing.T) {
	text, err := os.ReadFile(composeFile)
	require.NoError(t, err)
	require.NotRegexp(t, regexp.MustCompile(`(?m)^version:`), string(text))
}

func TestCompose_MySQLKeepsTextAsItIs(t *testing.T) {
	mysql := compose(t).Services["mysql"]
	require.Contains(t, mysql.Command, "--character-set-server=utf8mb4")
	require.NotContains(t, mysql.Environment, "MYSQL_USER", "the image would let it do everything")
	require.Equal(t, "localhost", *mysql.Environment["MYSQL_ROOT_HOST"])
	require.Equal(t, "/var/lib/mysql", mysql.Volumes[0].Target)
}

// composeContent is an inline file of the project.
func composeContent(t *testing.T, project *types.Project, service, target string) string {
	t.Helper()
	for _, mounted := range project.Services[service].Configs {
		if mounted.Target == target {
			return project.Configs[mounted.Source].Content
		}
	}
	require.FailNow(t, "not mounted: "+target)
	return ""
}

func nginxConfig(t *testing.T) string {
	return composeContent(t, compose(t), "nginx", "/etc/nginx/nginx.conf")
}

func TestCompose_NginxPassesTheKeyAndTheAddress(t *testing.T) {
	project, configuration := compose(t), nginxConfig(t)
	directives := regexp.MustCompile(`(?m)^\s*(.*);$`)
	var all []string
	for _, found := range directives.FindAllStringSubmatch(configuration, -1) {
		all = append(all, strings.Join(strings.Fields(found[1]), " "))
	}
	require.Contains(t, all, "underscores_in_headers on")
	require.Less(t, strings.Index(configuration, "http {"), strings.Index(configuration, "underscores_in_headers on"))
	require.Less(t, strings.Index(configuration, "underscores_in_headers on"), strings.Index(configuration, "server {"),
		"in http{}, where it holds for every server{}")
	require.Contains(t, all, "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for")
	require.Contains(t, all, "proxy_set_header Host $http_host", "the sandbox compares it with the origin of a page")
	require.Contains(t, all, "proxy_next_upstream off")
	require.NotRegexp(t, `log_format.*\$(request\b|request_uri|uri|args|query_string|http_)`, configuration,
		"requests have numbers and codes in them")
	for _, server := range composeServers(t, project) {
		require.Contains(t, all, "server "+server.Name+":8080")
	}
	require.Equal(t, 2, strings.Count(configuration, "listen 8080"))
	require.EqualValues(t, 8080, project.Services["nginx"].Ports[0].Target)
}

// Servers that share a state folder, or lose it with the container, do not notice a restored backup.
func TestCompose_EachServerKeepsAStateOfItsOwn(t *testing.T) {
	project := compose(t)
	seen := map[string]bool{}
	for _, server := range composeServers(t, project) {
		settings, err := config.Load(containerEnviron(t, server))
		require.NoError(t, err)
		require.Len(t, server.Volumes, 1, server.Name)
		volume := server.Volumes[0]
		require.Equal(t, "/"+settings.StateDir, volume.Target, "the image's working directory is the root")
		require.False(t, seen[volume.Source], volume.Source)
		seen[volume.Source] = true
		require.Contains(t, project.Volumes, volume.Source)
	}
}

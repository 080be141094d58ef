package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// completionCommand prints a shell's completion script. The script contains all the words, so that
// completing does not run the program.
type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"${enum}."`
}

// Help implements kong.HelpProvider.
func (completionCommand) Help() string {
	return `For example:

    source <(otpbridge completion bash)                                    # in ~/.bashrc
    otpbridge completion zsh  > "${fpath[1]}/_otpbridge"
    otpbridge completion fish > ~/.config/fish/completions/otpbridge.fish`
}

// Run prints the script.
func (c completionCommand) Run(p process) error {
	nodes := completions(newParser(p).Model.Node, nil)
	var script string
	switch c.Shell {
	case "bash":
		script = bashScript(nodes)
	case "zsh":
		// zsh runs bash's completions once it is asked to.
		script = "#compdef otpbridge\nautoload -U +X bashcompinit && bashcompinit\n" + bashScript(nodes)
	case "fish":
		script = fishScript(nodes)
	}
	_, err := io.WriteString(p.stdout, script)
	return err
}

// completion is what may follow a chain of commands.
type completion struct {
	path     []string
	commands []*kong.Node
	flags    []*kong.Flag
}

func completions(node *kong.Node, path []string) []completion {
	here := completion{path: path, flags: node.Flags}
	all := []completion{}
	for _, child := range node.Children {
		here.commands = append(here.commands, child)
		all = append(all, completions(child, append(append([]string{}, path...), child.Name))...)
	}
	return append([]completion{here}, all...)
}

func (c completion) words() string {
	var words []string
	for _, command := range c.commands {
		words = append(words, command.Name)
	}
	for _, flag := range c.flags {
		words = append(words, "--"+flag.Name)
	}
	if len(c.path) > 0 {
		words = append(words, "--help")
	}
	return strings.Join(words, " ")
}

// values returns the values that a flag with a fixed list of them accepts, empty for other flags.
func values(flag *kong.Flag) string {
	if flag.Enum == "" {
		return ""
	}
	return strings.Join(strings.Split(strings.Trim(flag.Enum, ","), ","), " ")
}

func bashScript(nodes []completion) string {
	var script strings.Builder
	script.WriteString(`_otpbridge() {
  local word path="" words="" i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="${COMP_WORDS[i]}"
    case "$path $word" in
`)
	for _, node := range nodes {
		if len(node.path) > 0 {
			fmt.Fprintf(&script, "      %q) path=%q ;;\n", " "+strings.Join(node.path, " "), " "+strings.Join(node.path, " "))
		}
	}
	script.WriteString("    esac\n  done\n  case \"$path\" in\n")
	for _, node := range nodes {
		path := ""
		if len(node.path) > 0 {
			path = " " + strings.Join(node.path, " ")
		}
		fmt.Fprintf(&script, "    %q) words=%q ;;\n", path, node.words())
	}
	script.WriteString("  esac\n  case \"$path ${COMP_WORDS[COMP_CWORD-1]}\" in\n")
	for _, node := range nodes {
		for _, flag := range node.flags {
			if words := values(flag); words != "" {
				fmt.Fprintf(&script, "    %q) words=%q ;;\n", " "+strings.Join(append(append([]string{}, node.path...),
					"--"+flag.Name), " "), words)
			}
		}
	}
	script.WriteString(`  esac
  COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _otpbridge otpbridge
`)
	return script.String()
}

func fishScript(nodes []completion) string {
	var script strings.Builder
	quoted := func(text string) string {
		return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(text) + "'"
	}
	for _, node := range nodes {
		condition := "__fish_use_subcommand"
		if len(node.path) > 0 {
			var seen []string
			for _, name := range node.path {
				seen = append(seen, "__fish_seen_subcommand_from "+name)
			}
			condition = strings.Join(seen, "; and ")
			for _, command := range node.commands {
				condition += "; and not __fish_seen_subcommand_from " + command.Name
			}
		}
		for _, command := range node.commands {
			fmt.Fprintf(&script, "complete -c otpbridge -f -n %s -a %s -d %s\n", quoted(condition), command.Name,
				quoted(firstSentence(command.Help)))
		}
		for _, flag := range node.flags {
			line := fmt.Sprintf("complete -c otpbridge -n %s -l %s -d %s", quoted(condition), flag.Name,
				quoted(firstSentence(flag.Help)))
			switch {
			case values(flag) != "":
				line += " -x -a " + quoted(values(flag))
			case !flag.IsBool():
				line += " -r"
			}
			script.WriteString(line + "\n")
		}
	}
	return script.String()
}

func firstSentence(help string) string {
	first, _, _ := strings.Cut(help, ". ")
	return strings.TrimSuffix(first, ".")
}

// helpCommand is --help for people who write "otpbridge help".
type helpCommand struct {
	Command []string `arg:"" optional:"" help:"The command, for example: otpbridge help account import."`
}

// Run shows what --help shows.
func (h helpCommand) Run(p process) error {
	if code := run(append(h.Command, "--help"), p); code != exitOK {
		return unusable{fmt.Errorf("there is no command %q; otpbridge help lists them", strings.Join(h.Command, " "))}
	}
	return nil
}

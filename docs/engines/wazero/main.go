// wazero as a judge: answers calls from standard input, one JSON object a line (docs/engines/README.md has the protocol).
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"strconv"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

type request struct {
	Module []byte   `json:"module"`
	Export string   `json:"export"`
	Args   []string `json:"args"`
}

func main() {
	ctx := context.Background()
	runtime := wazero.NewRuntime(ctx)
	lines := bufio.NewReader(os.Stdin)
	answers := json.NewEncoder(os.Stdout)
	var wasm []byte
	var instance api.Module
	for {
		line, failed := lines.ReadBytes('\n')
		if failed != nil {
			return
		}
		var asked request
		check(json.Unmarshal(line, &asked))
		if asked.Module != nil {
			wasm = asked.Module
			continue
		}
		if instance == nil {
			var err error
			instance, err = runtime.InstantiateWithConfig(ctx, wasm, wazero.NewModuleConfig().WithName("").WithStartFunctions())
			check(err)
		}
		args := []uint64{}
		for _, text := range asked.Args {
			value, err := strconv.ParseUint(text, 10, 64)
			check(err)
			args = append(args, value)
		}
		values, err := instance.ExportedFunction(asked.Export).Call(ctx, args...)
		if err != nil {
			check(answers.Encode(map[string]string{"trap": err.Error()}))
			instance = nil // the next call has a new one
			continue
		}
		results := []string{}
		for _, value := range values {
			results = append(results, strconv.FormatUint(value, 10))
		}
		check(answers.Encode(map[string][]string{"results": results}))
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

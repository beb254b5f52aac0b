// The way to a completed run through the client that openapi-generator makes.
//
// ADDRESS TOKEN WORKSPACE
package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"time"

	"trainwright"
)

const script = "print('hello from', __file__)\n"

func main() {
	address, token, workspace := os.Args[1], os.Args[2], os.Args[3]
	settings := trainwright.NewConfiguration()
	settings.Servers = trainwright.ServerConfigurations{{URL: address}}
	client := trainwright.NewAPIClient(settings)
	ctx := context.WithValue(context.Background(), trainwright.ContextAccessToken, token)

	fail(ctx, client)
	_, _, err := client.WorkspacesAPI.PutWorkspace(ctx, workspace).Execute()
	check(err)
	if !contains(workspaces(ctx, client), workspace) {
		log.Fatalf("%s is not listed", workspace)
	}
	cluster := trainwright.NewClusterPut("MEDIUM")
	_, _, err = client.ClustersAPI.PutCluster(ctx, "cpu", workspace).ClusterPut(*cluster).Execute()
	check(err)
	run := submit(ctx, client, workspace)
	for run.Status != "Completed" {
		if run.Status == "Failed" || run.Status == "Canceled" {
			log.Fatalf("the run is %s: %v", run.Status, run.Error.Get())
		}
		time.Sleep(300 * time.Millisecond)
		run, _, err = client.RunsAPI.GetRun(ctx, run.Id, workspace).Execute()
		check(err)
	}
	text, _, err := client.RunsAPI.GetRunLogs(ctx, run.Id, workspace).Execute()
	check(err)
	if !strings.Contains(text, "hello from") {
		log.Fatalf("the log is %q", text)
	}
	fmt.Println("walked")
}

func fail(ctx context.Context, client *trainwright.APIClient) {
	_, _, err := client.WorkspacesAPI.GetWorkspace(ctx, "nowhere").Execute()
	var refused *trainwright.GenericOpenAPIError
	if !errors.As(err, &refused) {
		log.Fatalf("a workspace that is not there was answered with %v", err)
	}
	problem, isProblem := refused.Model().(trainwright.Problem)
	if !isProblem || problem.Status != 404 {
		log.Fatalf("it was answered with %v", refused.Model())
	}
}

func workspaces(ctx context.Context, client *trainwright.APIClient) []string {
	var names []string
	token := ""
	for {
		page, _, err := client.WorkspacesAPI.ListWorkspaces(ctx).PageSize(1).PageToken(token).Execute()
		check(err)
		for _, each := range page.Items {
			names = append(names, each.Name)
		}
		token = page.GetNextPageToken()
		if token == "" {
			return names
		}
	}
}

func submit(ctx context.Context, client *trainwright.APIClient, workspace string) *trainwright.RunRead {
	archive := packed()
	defer os.Remove(archive.Name())
	snapshot, _, err := client.SnapshotsAPI.UploadSnapshot(ctx, workspace).Body(archive).Execute()
	check(err)
	asked := trainwright.NewRunCreate("walk", snapshot.Id, "cpu")
	asked.SetEntryScript("train.py")
	asked.SetEnvironment(*trainwright.NewEnvironmentSpec())
	run, _, err := client.RunsAPI.CreateRun(ctx, workspace).RunCreate(*asked).IdempotencyKey(workspace).Execute()
	check(err)
	again, answer, err := client.RunsAPI.CreateRun(ctx, workspace).RunCreate(*asked).IdempotencyKey(workspace).Execute()
	check(err)
	if again.Id != run.Id || answer.Header.Get("Idempotency-Replayed") != "true" {
		log.Fatalf("the same request made %s after %s", again.Id, run.Id)
	}
	return run
}

func packed() *os.File {
	file, err := os.CreateTemp("", "walk-*.tar")
	check(err)
	archive := tar.NewWriter(file)
	check(archive.WriteHeader(&tar.Header{Name: "train.py", Mode: 0o644, Size: int64(len(script))}))
	_, err = archive.Write([]byte(script))
	check(err)
	check(archive.Close())
	_, err = file.Seek(0, io.SeekStart)
	check(err)
	return file
}

func contains(names []string, wanted string) bool {
	for _, name := range names {
		if name == wanted {
			return true
		}
	}
	return false
}

func check(err error) {
	if err == nil {
		return
	}
	var refused *trainwright.GenericOpenAPIError
	if errors.As(err, &refused) {
		log.Fatalf("%v: %s", err, refused.Body())
	}
	log.Fatal(err)
}

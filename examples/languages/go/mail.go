package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// mail is a service that sends mails.
type mail struct {
	url    string
	client http.Client
}

func newMail(url string) *mail {
	transport := gidTransport{http.DefaultTransport}
	return &mail{url: url, client: http.Client{Timeout: 20 * time.Second, Transport: transport}}
}

func (m *mail) send(ctx context.Context, text string) error {
	body, err := json.Marshal(map[string]string{"text": text})
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, m.url+"/mails", bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("content-type", "application/json")
	answer, err := m.client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode >= 300 {
		return fmt.Errorf("the mail service answers %s", answer.Status)
	}
	return nil
}

// A job's page that grows while the job runs. Without this script the page is loaded again every few seconds.
"use strict";

const place = document.getElementById("job");
if (place !== null && place.dataset.job !== "") {
  const log = document.getElementById("log");
  const live = document.getElementById("live");
  const events = new EventSource(`/api/v1/jobs/${place.dataset.job}/events`);
  let begun = false;
  events.addEventListener("log", (event) => {
    if (!begun) {
      log.textContent = "";
      begun = true;
    }
    const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
    log.append(`${event.data}\n`);
    if (atEnd) {
      log.scrollTop = log.scrollHeight;
    }
  });
  events.addEventListener("job", (event) => {
    const job = JSON.parse(event.data);
    live.textContent = `job ${job.state}`;
    if (job.state !== "queued" && job.state !== "running") {
      events.close();
      window.location.reload();
    }
  });
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* How settings.c sets the log up between reading the settings and reporting bad ones. */
#ifndef WSD_BASE_LOG_START_H
#define WSD_BASE_LOG_START_H

/* Uses the settings `log` and `log_file` as they stand. Called once. */
void log_start(void);

#endif

/* What the two disk threads share. Internal to the folder. */
#ifndef STORE_THREAD_H
#define STORE_THREAD_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

/* A thread with all signals blocked; aborts if there is none to be had. */
pthread_t thread_start(void *(*run)(void *context), void *context);
/* A condition on the monotonic clock. */
void thread_init_condition(pthread_cond_t *condition);
/* CLOCK_MONOTONIC, ms from now. */
struct timespec thread_deadline(uint64_t ms);

#endif

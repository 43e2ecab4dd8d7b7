/* Threads: by OpenMP, where the build found it; else everything is done by the caller's. Long work has threads of its own:
 * OpenMP's spin for a while when they wait, on a core that another program may need. */
#include <autograd/autograd.h>

#include <pthread.h>

#if defined(__SANITIZE_THREAD__)
#define AG_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define AG_TSAN 1
#endif
#endif

enum { MOST_THREADS = 64 };

typedef struct ag_crew_member {
    void (*work)(void *context, int k);
    void *context;
    int k, step, n;
} ag_crew_member;

static _Thread_local int in_parallel;

static void *run(void *data) {
    const ag_crew_member *m = data;
    in_parallel++;
    for (int k = m->k; k < m->n; k += m->step) m->work(m->context, k);
    in_parallel--;
    return NULL;
}

void ag_parallel_long(int n, void (*work)(void *context, int k), void *context) {
    if (!work) return;
    pthread_t thread[MOST_THREADS];
    ag_crew_member member[MOST_THREADS];
    int started[MOST_THREADS] = {0}, members = n < MOST_THREADS ? n : MOST_THREADS;
    for (int k = 0; k < members; k++) {
        member[k] = (ag_crew_member){work, context, k, members, n};
        if (k) started[k] = pthread_create(&thread[k], NULL, run, &member[k]) == 0;
    }
    for (int k = 0; k < members; k++)
        if (!started[k]) run(&member[k]);
    for (int k = 0; k < members; k++)
        if (started[k]) pthread_join(thread[k], NULL);
}

#ifdef AG_TSAN

/* The thread sanitizer knows nothing of what OpenMP's library does between threads; plain threads it understands. */
#include <stdlib.h>

int ag_threads(void) {
    const char *wanted = getenv("OMP_NUM_THREADS");
    int n = wanted ? atoi(wanted) : 2;
    return in_parallel || n < 1 ? 1 : n < MOST_THREADS ? n : MOST_THREADS;
}

void ag_parallel(int n, void (*work)(void *context, int k), void *context) { ag_parallel_long(n, work, context); }

#elif defined(_OPENMP)

#include <omp.h>

int ag_threads(void) { return in_parallel || omp_in_parallel() ? 1 : omp_get_max_threads(); }

void ag_parallel(int n, void (*work)(void *context, int k), void *context) {
    if (n <= 1 || !work) {
        if (n == 1 && work) work(context, 0);
        return;
    }
#pragma omp parallel num_threads(n)
    for (int k = omp_get_thread_num(); k < n; k += omp_get_num_threads()) work(context, k);
}

#else

int ag_threads(void) { return 1; }

void ag_parallel(int n, void (*work)(void *context, int k), void *context) {
    for (int k = 0; work && k < n; k++) work(context, k);
}

#endif

/* A chunk is taken by whoever is free; what it adds to outputs waits until all chunks before it have been added. So sums
 * have the same bits for any number of threads. Chunks are taken in order and each is worked on at once, so whoever waits
 * waits for a thread that is at work. */
#include "crew_impl.h"

enum { SPINS = 4000 };

typedef struct ag_crew {
    const ag_crew_task *task;
    atomic_llong next, turn, failed; /* chunks: the next to take, the next to add, the first with a mishap */
    pthread_mutex_t lock;
    pthread_cond_t moved; /* turn has */
    ag_mishap *mishap;
} ag_crew;

static void report(ag_crew *c, int64_t chunk, const ag_mishap *mishap) {
    pthread_mutex_lock(&c->lock);
    if (chunk < atomic_load(&c->failed)) {
        atomic_store(&c->failed, chunk);
        *c->mishap = *mishap;
    }
    pthread_mutex_unlock(&c->lock);
}

static void wait_for_turn(ag_crew *c, int64_t chunk) {
    for (int i = 0; i < SPINS; i++)
        if (atomic_load_explicit(&c->turn, memory_order_acquire) == chunk) return;
    pthread_mutex_lock(&c->lock);
    while (atomic_load_explicit(&c->turn, memory_order_acquire) != chunk) pthread_cond_wait(&c->moved, &c->lock);
    pthread_mutex_unlock(&c->lock);
}

static void end_turn(ag_crew *c, int64_t chunk) {
    pthread_mutex_lock(&c->lock);
    atomic_store_explicit(&c->turn, chunk + 1, memory_order_release);
    pthread_cond_broadcast(&c->moved);
    pthread_mutex_unlock(&c->lock);
}

static void work(void *data, int worker) {
    ag_crew *c = data;
    const ag_crew_task *task = c->task;
    for (;;) {
        int64_t chunk = atomic_fetch_add(&c->next, 1);
        if (chunk >= task->chunks) return;
        ag_mishap mishap;
        if (chunk < atomic_load(&c->failed) && !task->run(task->context, worker, chunk, &mishap))
            report(c, chunk, &mishap);
        if (!task->add) continue;
        wait_for_turn(c, chunk);
        if (chunk < atomic_load(&c->failed)) task->add(task->context, worker, chunk);
        end_turn(c, chunk);
    }
}

bool ag_crew_run(const ag_crew_task *task, ag_mishap *mishap) {
    if (task->workers == 1) {
        for (int64_t chunk = 0; chunk < task->chunks; chunk++) {
            if (!task->run(task->context, 0, chunk, mishap)) return false;
            if (task->add) task->add(task->context, 0, chunk);
        }
        return true;
    }
    ag_crew c = {.task = task, .mishap = mishap};
    atomic_init(&c.next, 0);
    atomic_init(&c.turn, 0);
    atomic_init(&c.failed, task->chunks);
    pthread_mutex_init(&c.lock, NULL);
    pthread_cond_init(&c.moved, NULL);
    ag_parallel(task->workers, work, &c);
    pthread_cond_destroy(&c.moved);
    pthread_mutex_destroy(&c.lock);
    return atomic_load(&c.failed) == task->chunks;
}

/* Threads: by OpenMP, where the build found it; else everything is done by the caller's. */
#ifndef AG_THREADS_IMPL_H
#define AG_THREADS_IMPL_H

/* How many threads may work now: as OMP_NUM_THREADS says; 1 where several work already. */
int ag_threads(void);
/* work(context, k) for k = 0..n-1, at the same time if there are as many threads, which nothing may rely on. */
void ag_parallel(int n, void (*work)(void *context, int k), void *context);

#endif

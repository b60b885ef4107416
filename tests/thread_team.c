/* A team of POSIX threads in the place of that of GCC's OpenMP, whose waiting the thread sanitizer does not see. */
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

static __thread int number, size = 1;
static __thread unsigned singles;
static pthread_barrier_t barrier;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned taken;

typedef struct {
    void (*body)(void *);
    void *data;
    int number, size;
} Member;

/* Loops whose iterations threads take as they come. A thread may be some loops ahead of another. */
typedef struct {
    unsigned number;
    long next, end, step, chunk;
} Loop;

enum { LOOPS = 64 };
static Loop loops[LOOPS];
static __thread unsigned loop;

static void *work(void *argument)
{
    const Member *member = argument;
    number = member->number;
    size = member->size;
    singles = 0;
    loop = 0;
    member->body(member->data);
    return NULL;
}

void GOMP_parallel(void (*body)(void *), void *data, unsigned threads, unsigned flags)
{
    (void)flags;
    if (threads == 0)
        threads = 2;
    pthread_t *team = calloc(threads, sizeof *team);
    Member *members = calloc(threads, sizeof *members);
    pthread_barrier_init(&barrier, NULL, threads);
    taken = 0;
    for (int i = 0; i < LOOPS; i++)
        loops[i].number = 0;
    for (unsigned i = 0; i < threads; i++) {
        members[i] = (Member){body, data, (int)i, (int)threads};
        if (i > 0)
            pthread_create(&team[i], NULL, work, &members[i]);
    }
    work(&members[0]);
    for (unsigned i = 1; i < threads; i++)
        pthread_join(team[i], NULL);
    pthread_barrier_destroy(&barrier);
    number = 0;
    size = 1;
    free(members);
    free(team);
}

void GOMP_barrier(void)
{
    pthread_barrier_wait(&barrier);
}

/* Whether this thread is the first to come to a block that one thread executes. */
_Bool GOMP_single_start(void)
{
    pthread_mutex_lock(&lock);
    const _Bool first = singles++ == taken;
    taken += first;
    pthread_mutex_unlock(&lock);
    return first;
}

/* Take iterations: relaxed, so that the order in which they are taken excuses no race. */
_Bool GOMP_loop_nonmonotonic_dynamic_next(long *begin, long *end)
{
    Loop *here = &loops[loop % LOOPS];
    const long size = here->step * here->chunk;
    *begin = __atomic_fetch_add(&here->next, size, __ATOMIC_RELAXED);
    if (here->step > 0 ? *begin >= here->end : *begin <= here->end)
        return 0;
    *end = *begin + size;
    if (here->step > 0 ? *end > here->end : *end < here->end)
        *end = here->end;
    return 1;
}

_Bool GOMP_loop_nonmonotonic_dynamic_start(long first, long last, long step, long chunk,
                                           long *begin, long *end)
{
    Loop *here = &loops[++loop % LOOPS];
    pthread_mutex_lock(&lock);
    if (here->number != loop)
        *here = (Loop){loop, first, last, step, chunk};
    pthread_mutex_unlock(&lock);
    return GOMP_loop_nonmonotonic_dynamic_next(begin, end);
}

void GOMP_loop_end(void)
{
    pthread_barrier_wait(&barrier);
}

void GOMP_loop_end_nowait(void) {}

void GOMP_critical_start(void)
{
    pthread_mutex_lock(&lock);
}

void GOMP_critical_end(void)
{
    pthread_mutex_unlock(&lock);
}

void GOMP_critical_name_start(void **name)
{
    (void)name;
    pthread_mutex_lock(&lock);
}

void GOMP_critical_name_end(void **name)
{
    (void)name;
    pthread_mutex_unlock(&lock);
}

int omp_get_thread_num(void)
{
    return number;
}

int omp_get_num_threads(void)
{
    return size;
}

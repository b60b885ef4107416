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

static void *work(void *argument)
{
    const Member *member = argument;
    number = member->number;
    size = member->size;
    singles = 0;
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

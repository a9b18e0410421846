/* The least that can stand behind a proxy: HTTP/1.1 GET with keep-alive, a fixed answer, one thread.

   It prints its port, answers `/` with a head of about 200 bytes and "Hello, World!", and `/mb` with 1 MiB. */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_FD 4096
#define BUFFER 16384
#define MEGABYTE (1 << 20)

static struct connection {
    char *buffer;     /* the request as far as it is there */
    size_t filled;
    const char *rest; /* what is still to be sent of an answer */
    size_t left;
} connections[MAX_FD];

static int poller;
static char small_answer[512], *big_answer;
static size_t small_size, big_size;

static void make_answers(void)
{
    const char *head = "HTTP/1.1 200 OK\r\n"
                       "Server: backend\r\n"
                       "Date: Sat, 21 Nov 2026 12:00:00 GMT\r\n"
                       "Content-Type: text/html; charset=utf-8\r\n"
                       "X-Frame-Options: DENY\r\n"
                       "Vary: Cookie\r\n"
                       "Content-Length: %d\r\n\r\n";
    small_size = (size_t)sprintf(small_answer, head, 13);
    memcpy(small_answer + small_size, "Hello, World!", 13);
    small_size += 13;
    big_answer = malloc(MEGABYTE + 512);
    big_size = (size_t)sprintf(big_answer, head, MEGABYTE);
    memset(big_answer + big_size, 'x', MEGABYTE);
    big_size += MEGABYTE;
}

static void forget(int fd)
{
    close(fd);
    free(connections[fd].buffer);
    memset(&connections[fd], 0, sizeof connections[fd]);
}

static void watch(int fd, int operation, unsigned events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    epoll_ctl(poller, operation, fd, &event);
}

/* Send what is left; 1 when all is sent, 0 when the peer is slow, -1 when it has gone. */
static int send_rest(int fd)
{
    struct connection *c = &connections[fd];
    while (c->left) {
        ssize_t sent = send(fd, c->rest, c->left, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return 0;
        if (sent <= 0)
            return -1;
        c->rest += sent;
        c->left -= (size_t)sent;
    }
    return 1;
}

/* Answer the requests that are complete, one after the other. */
static void answer(int fd)
{
    struct connection *c = &connections[fd];
    char *end;
    while ((end = strstr(c->buffer, "\r\n\r\n")) != NULL) {
        int sent, big = strncmp(c->buffer, "GET /mb", 7) == 0;
        c->rest = big ? big_answer : small_answer;
        c->left = big ? big_size : small_size;
        c->filled -= (size_t)(end + 4 - c->buffer);
        memmove(c->buffer, end + 4, c->filled + 1);
        sent = send_rest(fd);
        if (sent < 0) {
            forget(fd);
            return;
        }
        if (sent == 0) {
            watch(fd, EPOLL_CTL_MOD, EPOLLOUT);
            return;
        }
    }
}

static void receive(int fd)
{
    struct connection *c = &connections[fd];
    ssize_t got = recv(fd, c->buffer + c->filled, BUFFER - 1 - c->filled, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return;
    if (got <= 0) {
        forget(fd);
        return;
    }
    c->filled += (size_t)got;
    c->buffer[c->filled] = 0;
    answer(fd);
}

static void go_on(int fd)
{
    int sent = send_rest(fd);
    if (sent < 0) {
        forget(fd);
    } else if (sent > 0) {
        watch(fd, EPOLL_CTL_MOD, EPOLLIN);
        answer(fd);
    }
}

static void welcome(int listener)
{
    int one = 1, fd = accept(listener, NULL, NULL);
    if (fd < 0)
        return;
    if (fd >= MAX_FD) {
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    connections[fd].buffer = malloc(BUFFER);
    connections[fd].buffer[0] = 0;
    watch(fd, EPOLL_CTL_ADD, EPOLLIN);
}

int main(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct epoll_event ready[64];

    make_answers();
    poller = epoll_create1(0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1024))
        return 1;
    getsockname(listener, (struct sockaddr *)&address, &length);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    watch(listener, EPOLL_CTL_ADD, EPOLLIN);
    for (;;) {
        int count = epoll_wait(poller, ready, 64, -1);
        for (int i = 0; i < count; i++) {
            int fd = ready[i].data.fd;
            if (fd == listener)
                welcome(fd);
            else if (ready[i].events & EPOLLOUT)
                go_on(fd);
            else
                receive(fd);
        }
    }
}

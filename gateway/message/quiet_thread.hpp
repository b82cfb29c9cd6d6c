// A thread that takes no signal: signals are for the thread that waits for them.
#pragma once

#include <csignal>
#include <thread>
#include <utility>

namespace gw {

template <class Work>
[[nodiscard]] std::thread quiet_thread(Work work)
{
    // A thread begins with the mask of the one that starts it.
    struct masked
    {
        masked()
        {
            sigset_t all;
            ::sigfillset(&all);
            ::pthread_sigmask(SIG_SETMASK, &all, &before);
        }
        ~masked() { ::pthread_sigmask(SIG_SETMASK, &before, nullptr); }
        masked(const masked&) = delete;
        masked& operator=(const masked&) = delete;
        sigset_t before{};
    };
    const masked here;
    return std::thread(std::move(work));
}

} // namespace gw

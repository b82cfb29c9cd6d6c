// Open files are what a proxy runs out of first: each client has a connection, and each of its requests one
// to an upstream. So the limit that the system gives is used whole, only a part of it is for clients, and a
// few are held back for the admin listener, which must answer when everything else is taken.
#pragma once

#include "net/asio.hpp"

#include <array>
#include <cstddef>

namespace gw::runtime {

// Raises this process's soft limit of open files to its hard one.
struct open_files
{
    std::size_t before = 0;
    std::size_t now = 0;
};
[[nodiscard]] open_files raise_open_files();

// How many client connections there may be.
//   wanted     `limits.connections`; 0: not said, 4096 then
//   files      the limit of open files
//   listeners  acceptors, over all cores
//   returns    at most half of the files when nothing is said, else at most what leaves some for the rest
[[nodiscard]] std::size_t
most_connections(std::size_t wanted, std::size_t files, std::size_t cores, std::size_t listeners);

// Connections over the limit that one acceptor answers at a time, to say so.
inline constexpr std::size_t most_turned_away = 16;

// Descriptors held back, of the thread that uses them. What was spent comes back by keep(): a descriptor that
// was closed first would go to whichever core opens one next.
class spare_descriptors
{
public:
    spare_descriptors();
    ~spare_descriptors();
    spare_descriptors(const spare_descriptors&) = delete;
    spare_descriptors& operator=(const spare_descriptors&) = delete;

    bool spend(); // one becomes free for whoever opens next; false: none is left
    void fill();  // as far as possible
    // Closes what `used` is, and holds the descriptor back if one is missing.
    void keep(int used);

private:
    int nothing_ = -1; // what those that are held are copies of
    std::array<int, 4> held_{-1, -1, -1, -1};
};

} // namespace gw::runtime

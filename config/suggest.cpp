#include "config/suggest.hpp"

#include <algorithm>
#include <vector>

namespace gw::config {
namespace {

constexpr std::size_t longest = 256; // nobody mistypes longer names by a letter or two

char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

} // namespace

std::size_t edit_distance(std::string_view one, std::string_view other, std::size_t most)
{
    const std::size_t gap = one.size() > other.size() ? one.size() - other.size() : other.size() - one.size();
    if (gap > most || one.size() > longest || other.size() > longest) {
        return most + 1;
    }

    // Three rows of the usual table; the third back is for swapped neighbours.
    std::vector<std::size_t> before(other.size() + 1);
    std::vector<std::size_t> last(other.size() + 1);
    std::vector<std::size_t> row(other.size() + 1);
    for (std::size_t j = 0; j <= other.size(); ++j) {
        last[j] = j;
    }
    for (std::size_t i = 1; i <= one.size(); ++i) {
        row[0] = i;
        std::size_t least = i;
        for (std::size_t j = 1; j <= other.size(); ++j) {
            const bool same = lower(one[i - 1]) == lower(other[j - 1]);
            row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (same ? 0U : 1U)});
            if (i > 1 && j > 1 && lower(one[i - 1]) == lower(other[j - 2]) &&
                lower(one[i - 2]) == lower(other[j - 1])) {
                row[j] = std::min(row[j], before[j - 2] + 1);
            }
            least = std::min(least, row[j]);
        }
        if (least > most) {
            return most + 1;
        }
        std::swap(before, last);
        std::swap(last, row);
    }
    return std::min(last[other.size()], most + 1);
}

std::optional<std::string_view> nearest(std::string_view said, std::span<const std::string_view> names)
{
    std::optional<std::string_view> best;
    std::size_t most = std::max<std::size_t>(1, said.size() / 3);
    for (const auto name : names) {
        // A name of which nothing stays is not a misspelling.
        if (const std::size_t distance = edit_distance(said, name, most);
            distance <= most && distance < std::max(said.size(), name.size())) {
            best = name;
            if (distance == 0) {
                break;
            }
            most = distance - 1;
        }
    }
    return best;
}

std::string did_you_mean(std::string_view said, std::span<const std::string_view> names)
{
    const auto best = nearest(said, names);
    return best ? "; did you mean `" + std::string(*best) + "`?" : std::string();
}

} // namespace gw::config

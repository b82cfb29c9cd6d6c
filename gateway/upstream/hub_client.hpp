// Questions to the Hub: one GET each, its answer whole and bounded. TLS is verified, a name that is not the
// operator's own word leads to no private address, and no redirect is followed: of a model that was renamed
// the new name is looked up, without the token. Used on the thread of one loop.
#pragma once

#include "config/settings.hpp"
#include "hub/judge.hpp"
#include "upstream/pool.hpp"

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gw::upstream {

// Where to ask, and with which token.
struct hub_place
{
    peer at;
    std::string base_path;
    config::secret token;   // empty: none
    std::string token_name; // empty: none
};
//   errors   internal: the system's certificates cannot be used
[[nodiscard]] result<std::shared_ptr<const hub_place>> place_of(const config::hub& hub);

class hub_client
{
public:
    // REQUIRES `connections` outlives this.
    hub_client(pool& connections, std::string_view version) : pool_(connections), version_(version) {}

    // What the Hub says of a model. Never fails: what goes wrong is an answer `away`.
    [[nodiscard]] net::task<hub::judgement>
    model(const hub_place& where, std::string model, net::interrupt& stop);

    // The stage of a Space (RUNNING, SLEEPING, ...); empty: it is not known.
    [[nodiscard]] net::task<std::string>
    stage(const hub_place& where, std::string space, net::interrupt& stop);

private:
    struct page;
    [[nodiscard]] net::task<result<page>>
    get(const hub_place& where, std::string target, bool with_token, net::interrupt& stop);
    [[nodiscard]] net::task<hub::judgement>
    ask(const hub_place& where, const std::string& model, bool with_token, net::interrupt& stop);

    pool& pool_;
    std::string version_;
};

// Of a command: the look-up of a model, and where its first Spaces stand. Blocks until it is done, at most
// half a minute.
struct hub_view
{
    hub_answer is;
    std::vector<std::pair<std::string, std::string>> stages; // a Space and its stage
};
enum class with_spaces : bool { no, yes };
[[nodiscard]] hub_view
look_once(const hub_place& where, const std::string& model, std::string_view version, with_spaces stages);

} // namespace gw::upstream

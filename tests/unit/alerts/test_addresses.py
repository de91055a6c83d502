import pytest

from llmguard.alerts.addresses import CheckedResolver, ForbiddenAddressError, check_address


@pytest.mark.parametrize(
    "address",
    [
        *("169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "100.100.100.200"),
        *("168.63.129.16", "192.0.0.192", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "240.0.0.1"),
        *("::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1"),
    ],
)
@pytest.mark.parametrize("loopback", [False, True])
def test_addresses_where_clouds_keep_credentials_are_refused(address, loopback):
    with pytest.raises(ForbiddenAddressError):
        check_address(address, loopback=loopback)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_this_machine_is_allowed_only_when_asked_for(address):
    with pytest.raises(ForbiddenAddressError, match="loopback: allowed"):
        check_address(address, loopback=False)
    check_address(address, loopback=True)


@pytest.mark.parametrize("address", ["10.1.2.3", "192.168.1.9", "203.0.113.9", "2001:db8::1", "fd12::9"])
def test_other_machines_are_allowed_in_company_networks_too(address):
    check_address(address, loopback=False)


async def test_names_are_judged_by_what_they_resolve_to():
    with pytest.raises(ForbiddenAddressError):
        await CheckedResolver(loopback=False).resolve("localhost", 443)
    assert await CheckedResolver(loopback=True).resolve("localhost", 443)

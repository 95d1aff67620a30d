"""Invent persons, companies and opportunities from their ids, with the members of contract 2.4 to 2.6.

The same id always gives the same object. Between ids the members that may drop out do drop out, so that a
reader who relies on one of them fails here rather than at a portal. Values only: ``bodies`` writes them.
"""

from typing import Any

from worker.simulator.scenario import Holdings

_PHOTO = "/Products/CRM/HttpHandlers/filehandler.ashx?action=contactphotoulr&cid={}&isc={}&ps={}"
_OFFSET = "+02:00"
_EURO = {
    "title": "Euro",
    "symbol": "€",
    "abbreviation": "EUR",
    "cultureName": "EU",
    "isConvertable": True,
    "isBasic": True,
}
_PHONE, _EMAIL, _DATE, _HEADING = 0, 1, 5, 4


class People:
    """The objects of one portal."""

    def __init__(self, holdings: Holdings) -> None:
        self._holdings = holdings

    def is_company(self, contact: int) -> bool:
        """Whether the contact is a company."""
        every, first = self._holdings.companies_every, self._holdings.companies_from
        return (every > 0 and contact % every == 0) or 0 < first <= contact

    def display_name(self, contact: int) -> str:
        """Give the name; one without a last name ends in a space (contract 2.4)."""
        if self.is_company(contact):
            return f"Company {contact}"
        return " ".join(self._names(contact))

    def single(self, contact: int) -> dict[str, Any]:
        """Build the contact as POST, DELETE and GET of one contact send it: addresses always, tags never."""
        return self._contact(contact, listed=False)

    def listed(self, contact: int, *, primary: bool = False) -> dict[str, Any]:
        """Build the contact as lists send it: addresses only if there are any, tags only if there are any.

        Of the opportunity's primary contact ``canEdit`` is false, whatever the rights (contract 2.4).
        """
        built = self._contact(contact, listed=True)
        if primary:
            built["canEdit"] = False
        return built

    def myself(self, email: str, *, limited: bool) -> dict[str, Any]:
        """Build the profile of whoever asks; ``limited`` is whether that is no administrator."""
        first = "Limited" if limited else "Demo"
        return {
            "userName": f"{first.lower()}.user",
            "isVisitor": False,
            "firstName": first,
            "lastName": "User",
            "email": f"{first.lower()}.{email}" if limited else email,
            "status": 1,
            "activationStatus": 1,
            "terminated": None,
            "avatarMedium": "/skins/default/images/default_user_photo_size_48-48.png",
            "avatar": "/skins/default/images/default_user_photo_size_82-82.png",
            "isAdmin": not limited,
            "isLDAP": False,
            "isOwner": False,
            "isSSO": False,
            **_employee(1),
            "displayName": f"{first} User",
        }

    def opportunity(self, opportunity: int, members: list[int]) -> dict[str, Any]:
        """Build an opportunity with its members: no null and no 0 is sent (contract 5.7, 9.8, 10.7)."""
        primary, probability = self._holdings.primary.get(opportunity), opportunity % 101
        likely = {"successProbability": probability} if probability else {}
        return {
            "createBy": _employee(opportunity),
            "created": _date(opportunity),
            **({} if primary is None else {"contact": self._base(primary)}),
            "members": [self._base(member) for member in members],
            "title": f"Opportunity {opportunity}",
            "description": "",
            "responsible": _employee(opportunity + 1),
            "bidValue": opportunity % 1000 * 100.0,
            "bidCurrency": _EURO,
            "stage": {
                **likely,
                "stageType": 0,
                "title": "Initial",
                "description": "",
                "color": "#f00",
                "id": 1,
            },
            **likely,
            "actualCloseDate": "0001-01-01T00:00:00.0000000Z",
            "expectedCloseDate": _date(opportunity + 1),
            "isPrivate": opportunity in self._holdings.private_opportunities,
            "accessList": [],
            "canEdit": True,
            "customFields": [_heading()],
            "id": opportunity,
        }

    def _names(self, contact: int) -> tuple[str, str]:
        return (f"Contact {contact}", "") if contact % 97 == 0 else ("Contact", str(contact))

    def _contact(self, contact: int, *, listed: bool) -> dict[str, Any]:
        head = self._company_head(contact) if self.is_company(contact) else self._person_head(contact)
        addresses = [] if contact % 3 == 0 else [_address(contact)]
        tags = sorted({"import", f"tag {contact % 5}"}) if contact % 4 == 1 else []
        return {
            **head,
            **({"addresses": addresses} if addresses or not listed else {}),
            "createBy": _employee(contact),
            "created": _date(contact),
            "about": f'Said "call back" & left\nat stand {contact}' if contact % 7 == 2 else "",  # noqa: PLR2004 - any
            "industry": "",
            **({"contactStatus": _status(contact)} if contact % 6 == 1 else {}),
            "commonData": [] if contact % 8 == 0 else _common_data(contact),
            "customFields": _custom_fields(contact),
            **({"tags": tags} if tags and listed else {}),
            **({"taskCount": contact % 4} if contact % 4 else {}),
            "haveLateTasks": contact % 4 == 3,  # noqa: PLR2004 - any
            **self._base(contact),
        }

    def _person_head(self, contact: int) -> dict[str, Any]:
        first, last = self._names(contact)
        every = self._holdings.companies_every
        company = contact - contact % every if every else self._holdings.companies_from
        employed = company > 0 and contact % 2 == 0 and self._holdings.has_contact(company)
        return {
            "firstName": first,
            "lastName": last,
            **({"company": self._base(company)} if employed else {}),
            "title": "Buyer" if contact % 3 == 1 else "",
        }

    def _company_head(self, contact: int) -> dict[str, Any]:
        count = contact % 4
        return {"companyName": f"Company {contact}", **({"personsCount": count} if count else {})}

    def _base(self, contact: int) -> dict[str, Any]:
        company = self.is_company(contact)
        private = contact % 13 == 0 or contact in self._holdings.private_contacts
        return {
            "smallFotoUrl": _PHOTO.format(contact, company, 1),
            "mediumFotoUrl": _PHOTO.format(contact, company, 2),
            "displayName": self.display_name(contact),
            "isCompany": company,
            **({"accessList": [_employee(contact)] if contact % 2 else []} if private else {}),
            "isPrivate": private,
            "isShared": not private,
            "shareType": 0 if private else 1 + contact % 2,
            "currency": _EURO if contact % 9 == 0 else None,
            "canEdit": True,
            "canDelete": True,
            "id": contact,
        }


def _date(number: int) -> str:
    # Seconds are all that the database keeps, so the fraction is always zero (contract 2.3).
    day, hour, minute = 1 + number % 28, number % 24, number % 60
    return f"2023-{1 + number % 12:02}-{day:02}T{hour:02}:{minute:02}:00.0000000{_OFFSET}"


def _employee(number: int) -> dict[str, Any]:
    who = number % 6
    return {
        "id": f"293bb997-28d8-4be0-8547-6eb50add{who:04x}",
        "displayName": f"Employee {who}",
        **({"title": "Manager"} if who % 2 else {}),
        "avatarSmall": "/skins/default/images/default_user_photo_size_32-32.png" if who else None,
        "profileUrl": f"https://portal.example/Products/People/Profile.aspx?user=employee.{who}",
    }


def _address(contact: int) -> dict[str, Any]:
    return {
        "street": f"Brīvības {contact}",
        "city": "Rīga",
        "state": "",
        "zip": f"LV-{contact % 10_000:04}",
        "country": "Latvia",
        **({"category": 5, "categoryName": "Work"} if contact % 2 else {"categoryName": "Home"}),
        **({"isPrimary": True} if contact % 3 == 1 else {}),
    }


def _status(contact: int) -> dict[str, Any]:
    order = contact % 3
    return {
        "title": "Warm",
        "description": "",
        "color": "#5cb85c",
        **({"sortOrder": order} if order else {}),
        "id": 12,
    }


def _common_data(contact: int) -> list[dict[str, Any]]:
    def item(number: int, info_type: int, data: str, name: str) -> dict[str, Any]:
        return {
            "id": contact * 10 + number,
            "infoType": info_type,
            "category": 1,
            "data": data,
            "categoryName": name,
            "isPrimary": number == 0,
        }

    return [
        item(0, _PHONE, f"+371 {contact:08}", "Work"),
        item(1, _EMAIL, f"contact{contact}@portal.example", "Work"),
    ]


def _custom_fields(contact: int) -> list[dict[str, Any]]:
    if contact % 5 == 4:  # noqa: PLR2004 - any
        return []
    birthday = {
        "entityId": contact,
        "label": "Birthdate",
        "fieldValue": f"1984-02-{1 + contact % 28:02}",
        "fieldType": _DATE,
        "position": 1,
        "mask": "",
        "id": 7,
    }
    return [_heading(), birthday] if contact % 2 else [_heading()]


def _heading() -> dict[str, Any]:
    # Heading rows come with every entity, and belong to none (contract 2.4).
    return {
        "entityId": 0,
        "label": "Details",
        "fieldValue": "",
        "fieldType": _HEADING,
        "position": 0,
        "mask": "",
        "id": 6,
    }
